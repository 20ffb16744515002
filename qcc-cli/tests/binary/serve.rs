//! A proxy from its start to its end.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::client;
use crate::folder::{config, folder};
use crate::proxy::{Proxy, serve};

/// A configuration with which it connects to nobody by itself.
fn alone(name: &str) -> PathBuf {
    let text = "warm_up: off\nclusters: { c: { kind: anthropic, endpoints: [{ base_url: \
                'http://127.0.0.1:9', api_key: sk-test-0001 }] } }\n";
    config(name, text)
}

// CLI-01, OPS-06, UPS-05
#[test]
fn it_serves_until_it_is_asked_to_stop() {
    let mut proxy = Proxy::new(&alone("served"));
    assert_ne!(proxy.address.port(), 0);
    let value = format!("http://{}", proxy.address);
    assert_eq!(
        proxy.started["environment"][0]["name"],
        "ANTHROPIC_BASE_URL"
    );
    assert_eq!(proxy.started["environment"][0]["value"], value.as_str());

    let answer = client::get(proxy.address, "/nope");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("unknown_route"), "{answer}");

    // A connection that idles does not keep it from stopping.
    let _idle = TcpStream::connect(proxy.address).unwrap();
    let (code, log) = proxy.process.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("connection reuse enabled: up to 20 idle connections"),
        "{log}"
    );
    assert!(log.contains("stopped"), "{log}");
    assert!(
        !log.contains("sk-test") && !log.contains("panicked"),
        "{log}"
    );
}

// OPS-06
#[test]
fn after_a_kill_it_starts_again_on_the_same_port() {
    let config = alone("killed");
    let mut first = Proxy::new(&config);
    let port = first.address.port();
    // An open connection leaves the port in a state in which it must be taken all the same.
    let _open = TcpStream::connect(first.address).unwrap();
    first.process.kill();
    let mut second = Proxy::start(&mut serve(&config, port));
    assert_eq!(second.address.port(), port);
    assert_eq!(second.process.terminate().0, Some(0));
}

// CFG-07, CFG-08, CFG-09, CFG-10, CLI-19
#[test]
fn a_changed_file_is_in_force_without_a_restart_and_a_broken_one_is_not() {
    let text = |weight: &str| {
        format!(
            "clusters: {{ c: {{ endpoints: [{{ name: a, base_url: 'http://127.0.0.1:9', \
             api_key: sk-test-0001, weight: {weight} }}] }} }}\n"
        )
    };
    let path = config("reloaded", &text("1"));
    let mut proxy = Proxy::new(&path);

    // An editor writes beside it and renames.
    let beside = path.with_extension("new");
    fs::write(&beside, text("2")).unwrap();
    fs::rename(beside, &path).unwrap();
    let log = proxy.process.log_until("configuration reloaded");
    assert!(
        log.contains("clusters.c.endpoints.a.weight: 1 => 2"),
        "{log}"
    );
    assert!(log.contains("the file changed"), "{log}");

    fs::write(&path, text("many")).unwrap();
    let log = proxy.process.log_until("configuration not reloaded");
    let first_line = format!("{}:1:", path.display());
    assert!(log.contains(&first_line), "{log}");
    let (code, _, stderr) = proxy.run(&["refresh"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("weight"), "{stderr}");

    fs::write(&path, text("3")).unwrap();
    proxy.process.log_until("configuration reloaded");
    proxy.process.signal(Signal::SIGHUP);
    proxy.process.log_until("SIGHUP");
    let (code, stdout, _) = proxy.run(&["refresh"]);
    assert_eq!(
        (code, &*stdout),
        (
            0,
            "The configuration was read again; nothing in it changed.\n"
        )
    );
    let (code, log) = proxy.process.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("sk-test"), "{log}");
}

// CFG-07
#[test]
fn a_configuration_behind_a_link_is_followed_to_where_the_link_leads() {
    let text = |weight: u32| {
        format!(
            "store: {{ enabled: false }}\nwarm_up: off\nclusters: {{ c: {{ endpoints: [{{ \
             name: a, base_url: 'http://127.0.0.1:9', api_key: sk-test-0001, \
             weight: {weight} }}] }} }}\n"
        )
    };
    let folder = folder("linked");
    let [first, second] = ["first", "second"].map(|name| folder.join(name).join("qcc.yaml"));
    for target in [&first, &second] {
        fs::create_dir_all(target.parent().unwrap()).unwrap();
    }
    fs::write(&first, text(1)).unwrap();
    let (link, next) = (folder.join("qcc.yaml"), folder.join("next"));
    symlink(&first, &link).unwrap();
    let mut proxy = Proxy::new(&link);

    fs::write(&first, text(2)).unwrap();
    proxy.process.log_until("weight: 1 => 2");
    fs::write(&second, text(3)).unwrap();
    symlink(&second, &next).unwrap();
    fs::rename(&next, &link).unwrap();
    proxy.process.log_until("weight: 2 => 3");
    fs::write(&second, text(4)).unwrap();
    proxy.process.log_until("weight: 3 => 4");
    assert_eq!(proxy.process.terminate().0, Some(0));
}

// UPS-18, UPS-19, UPS-21
#[test]
fn at_the_start_every_enabled_endpoint_is_connected_to_and_nobody_waits_for_it() {
    let there = TcpListener::bind("127.0.0.1:0").unwrap();
    let disabled = TcpListener::bind("127.0.0.1:0").unwrap();
    disabled.set_nonblocking(true).unwrap();
    let gone = {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        closed.local_addr().unwrap()
    };
    let (to, off) = (there.local_addr().unwrap(), disabled.local_addr().unwrap());
    let text = format!(
        "clusters:\n  c:\n    endpoints:\n      \
         - {{ name: there, base_url: 'http://{to}/api', api_key: sk-test-0001 }}\n      \
         - {{ name: gone, base_url: 'http://{gone}', api_key: sk-test-0002 }}\n      \
         - {{ name: off, base_url: 'http://{off}', api_key: sk-test-0003, enabled: false }}\n"
    );
    let mut proxy = Proxy::new(&config("warm", &text));
    // It serves before anybody has answered.
    let answer = client::get(proxy.address, "/nope");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");

    let (mut stream, _) = there.accept().unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1);
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HEAD /api HTTP/1.1"), "{head}");
    assert!(!head.contains("sk-test"), "{head}");
    stream
        .write_all(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n")
        .unwrap();
    let log = proxy.process.log_until("warm-up: 1/2");
    assert!(
        log.contains("warm-up: no connection") && log.contains("gone"),
        "{log}"
    );
    assert!(
        disabled.accept().is_err(),
        "a disabled endpoint is not touched"
    );
    assert_eq!(proxy.process.terminate().0, Some(0));
}

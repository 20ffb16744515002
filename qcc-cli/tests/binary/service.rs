//! The binary as a service: its unit, its end and its return.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::cargo_bin;

use crate::client;
use crate::folder::folder;
use crate::process::{KEY, run};
use crate::proxy::{Proxy, serve};
use crate::world::World;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn unit() -> String {
    fs::read_to_string(root().join("packaging/qcc.service")).unwrap()
}

/// The values of a key in a section of the unit.
fn values<'u>(unit: &'u str, section: &str, key: &str) -> Vec<&'u str> {
    let mut inside = "";
    let mut found = Vec::new();
    for line in unit.lines() {
        if let Some(name) = line.strip_prefix('[') {
            inside = name.trim_end_matches(']');
        } else if inside == section
            && let Some((name, value)) = line.split_once('=')
            && name == key
        {
            found.push(value);
        }
    }
    found
}

// OPS-05
#[test]
fn the_unit_says_when_as_whom_and_how_it_is_started_again() {
    let unit = unit();
    for (section, key, value) in [
        ("Unit", "After", "network.target"),
        ("Service", "Type", "simple"),
        ("Service", "WorkingDirectory", "/var/lib/qcc"),
        ("Service", "ExecStart", "/usr/local/bin/qcc serve"),
        ("Service", "Restart", "always"),
        ("Service", "RestartSec", "5"),
        ("Install", "WantedBy", "multi-user.target"),
    ] {
        assert_eq!(values(&unit, section, key), [value], "{key}");
    }
    let [user] = values(&unit, "Service", "User")[..] else {
        panic!("one user");
    };
    assert!(!["", "root", "0"].contains(&user), "{user}");
    let keys: Vec<_> = unit
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    assert!(
        keys.iter().all(|(_, value)| !value.contains("sk-")),
        "a unit can be read by everybody"
    );
}

// OPS-05, OPS-06
#[test]
fn the_unit_waits_longer_than_open_answers_may_take() {
    let unit = unit();
    let [stop] = values(&unit, "Service", "TimeoutStopSec")[..] else {
        panic!("one time");
    };
    let (_, shown, _) = run(&["config", "show", "--json"], &[KEY]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let shutdown = shown["shutdown"].as_str().unwrap().trim_end_matches('s');
    assert!(stop.parse::<u32>().unwrap() > shutdown.parse().unwrap());
}

// OPS-05
#[test]
fn systemd_understands_the_unit() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("SKIPPED: there is no systemd-analyze on this machine");
        return;
    }
    // It looks whether the program is there.
    let unit = unit().replace("/usr/local/bin/qcc", cargo_bin("qcc").to_str().unwrap());
    let verify = |name: &str, unit: &str| {
        let path = folder(name).join("qcc.service");
        fs::write(&path, unit).unwrap();
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(path)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        // It follows the units that this one wants, and tells of theirs, too.
        let own: Vec<_> = told
            .lines()
            .filter(|line| line.contains("qcc.service"))
            .collect();
        (output.status.success(), own.join("\n"))
    };
    assert_eq!(verify("unit-right", &unit), (true, String::new()));
    let (_, told) = verify("unit-wrong", &unit.replace("RestartSec", "RestartSek"));
    assert!(
        told.contains("RestartSek"),
        "it would not find a mistake: {told}"
    );
}

/// What `docs/operations.md` has to tell of systemd.
// DOC-03
#[test]
fn the_chapter_on_systemd_says_what_to_type_and_why_a_shell_is_no_place() {
    let doc = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, chapter) = doc.split_once("\n## systemd\n").unwrap();
    let chapter = chapter.split("\n## ").next().unwrap();
    for command in [
        "systemctl daemon-reload",
        "systemctl enable",
        "systemctl start",
        "systemctl status",
        "journalctl -u qcc",
    ] {
        assert!(chapter.contains(command), "{command}");
    }
    assert!(chapter.contains("nohup qcc serve &"));
    assert!(
        chapter.contains("KillUserProcesses"),
        "why it ends with the session"
    );
    let user = values(&unit(), "Service", "User").concat();
    assert!(chapter.contains(&format!(
        "--home-dir /var/lib/qcc --shell /usr/sbin/nologin {user}"
    )));
}

/// Asks for a stream that begins and then stalls, and reads its begin.
fn stalled(world: &World) -> TcpStream {
    let mut stream = world.connect();
    let request = client::request("POST /v1/messages HTTP/1.1", client::STREAM);
    stream.write_all(request.as_bytes()).unwrap();
    let mut begin = Vec::new();
    while !String::from_utf8_lossy(&begin).contains("content_block_delta") {
        let mut some = [0; 1024];
        let read = stream.read(&mut some).unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&begin));
        begin.extend(&some[..read]);
    }
    stream
}

// OPS-06
#[test]
fn a_stream_without_end_holds_the_end_up_no_longer_than_it_may() {
    let mut world = World::configured("drain", &["stall:4"], "shutdown: 1s\n");
    let mut stream = stalled(&world);
    let (code, log) = world.proxy.process.terminate();
    assert_eq!(code, Some(0), "{log}");
    let mut rest = Vec::new();
    // The connection is gone with it, whatever came before.
    let _ = stream.read_to_end(&mut rest);
}

// OPS-06
#[test]
fn killed_in_the_middle_of_a_stream_it_serves_again_on_the_same_port() {
    let mut world = World::new("kill", &["first:1:stall:4"]);
    let _stream = stalled(&world);
    world.proxy.process.kill();
    let port = world.proxy.address.port();
    world.proxy = Proxy::start(&mut serve(&world.config, port));
    assert!(world.ask(client::MESSAGE).starts_with("HTTP/1.1 200"));
}

//! Reloads under open answers, with the real binary.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::client;
use crate::world::World;

const STREAMS: usize = 50;

/// Reads a stream up to its first event.
fn begin(stream: &mut BufReader<TcpStream>) {
    let mut line = String::new();
    while !line.starts_with("event: message_start") {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "it ended");
    }
}

impl World {
    /// Asks for a stream.
    fn open_stream(&self) -> BufReader<TcpStream> {
        let mut stream = self.connect();
        let request = client::request("POST /v1/messages HTTP/1.1", client::STREAM);
        stream.write_all(request.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    /// The one endpoint.
    fn endpoint(&self) -> Value {
        let status = self.proxy.json(&["cluster", "status", "c"]);
        status["clusters"][0]["endpoints"]["items"][0].clone()
    }
}

// CFG-07, CFG-09, CFG-10, CLI-19
#[test]
fn ten_reloads_cut_none_of_fifty_open_streams_and_a_broken_file_changes_nothing() {
    let world = World::new("reloads", &["slow:0ms,1s"]);
    let text = fs::read_to_string(&world.config).unwrap();
    let sixth = format!("{}:6:", world.config.display());
    let mut open: Vec<_> = (0..STREAMS).map(|_| world.open_stream()).collect();
    open.iter_mut().for_each(begin);
    for reload in 1..=10 {
        if reload == 5 {
            fs::write(&world.config, text.replace("priority:", "priorty:")).unwrap();
            let (code, told) = world.run(&["refresh"]);
            assert_ne!(code, 0, "{told}");
            assert!(told.contains(&sixth), "the line: {told}");
            assert!(told.contains("`priority`"), "the remedy: {told}");
            continue;
        }
        let weighed = text.replace("priority:", &format!("weight: {reload}, priority:"));
        fs::write(&world.config, weighed).unwrap();
        let (code, told) = world.run(&["refresh"]);
        assert_eq!(code, 0, "{told}");
    }
    let endpoint = world.endpoint();
    assert_eq!(
        endpoint["current_load"], STREAMS,
        "all are open: {endpoint}"
    );
    assert_eq!(endpoint["weight"], 10, "the last one is in force");
    for mut stream in open {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("event: message_stop"), "{rest}");
        assert!(!rest.contains("event: error"), "{rest}");
    }
    assert_eq!(world.endpoint()["failed"], 0);
}

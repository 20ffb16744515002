//! The tests need no network and no patience: they stay on this machine, and those of the library
//! do not wait on the wall clock. Only `scripts/test` installs something, at pinned versions.

use qcc_tests::source::{files, root};
use serde_json::Value;

// EMB-06
#[test]
fn tests_stay_on_this_machine_and_off_the_wall_clock() {
    let mut found = Vec::new();
    for folder in ["qcc-core", "qcc-cli", "examples", "tests"] {
        for (path, text) in files(folder, &["rs"]) {
            for (number, line) in text.lines().enumerate() {
                let sleeps = folder == "qcc-core" && line.contains("thread::sleep(");
                if sleeps || leaves(line) {
                    found.push(format!("{path}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

// EMB-06
#[test]
fn client_sdks_are_pinned_to_the_last_of_their_dependencies() {
    let path = root().join("tests/sdk/requirements.txt");
    let pins = std::fs::read_to_string(path).unwrap();
    let pins: Vec<_> = pins.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(pins.iter().all(|pin| pin.contains("==")), "{pins:?}");
    for sdk in ["anthropic==", "openai==", "pydantic=="] {
        assert!(pins.iter().any(|pin| pin.starts_with(sdk)), "{sdk}");
    }
}

// EMB-06
#[test]
fn client_sdks_for_node_are_locked_by_their_content_and_not_by_a_place() {
    let path = root().join("tests/sdk/node/package-lock.json");
    let lock: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let packages = lock["packages"].as_object().unwrap();
    for sdk in ["@anthropic-ai/sdk", "openai"] {
        let pin = packages[""]["dependencies"][sdk].as_str().unwrap();
        assert!(
            pin.starts_with(|first: char| first.is_ascii_digit()),
            "{sdk} {pin}"
        );
        assert_eq!(packages[&format!("node_modules/{sdk}")]["version"], pin);
    }
    for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
        assert!(package["integrity"].is_string(), "{name}");
        assert!(package["resolved"].is_null(), "{name}");
    }
}

#[test]
fn addresses_elsewhere_are_found() {
    for call in CALLS {
        for address in ["0.0.0.0:0", "example.com:80"] {
            assert!(
                leaves(&format!("{call}(\"{address}\")")),
                "{call} {address}"
            );
        }
        for address in ["127.0.0.1:0", "localhost:80", "[::1]:80"] {
            assert!(
                !leaves(&format!("{call}(\"{address}\")")),
                "{call} {address}"
            );
        }
        assert!(!leaves(&format!("{call}(address)")), "{call}");
    }
}

const CALLS: [&str; 2] = ["bind", "connect"];

/// Whether a socket is bound or connected to a written address that is not this machine's own.
fn leaves(line: &str) -> bool {
    CALLS.iter().any(|call| {
        line.split_once(&format!("{call}(\""))
            .is_some_and(|(_, address)| {
                let own = ["127.0.0.1", "localhost", "[::1]"];
                !own.iter().any(|own| address.starts_with(own))
            })
    })
}

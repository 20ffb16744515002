//! The handbook against the program: every command in it is typed, every address is asked.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::client;
use crate::folder::folder;
use crate::process::run;
use crate::world::World;

/// These run until they are ended, or write files; whether they are understood, their help tells.
const LASTING: [&str; 4] = ["serve", "run", "demo", "init"];

fn handbook() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md");
    fs::read_to_string(path).unwrap()
}

/// Everything in the handbook that begins with `program`: in backquotes, or a line of a block.
fn typed(doc: &str, program: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut in_block = false;
    for line in doc.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            let command = line.split('#').next().unwrap_or_default();
            found.insert(command.trim().to_owned());
        } else {
            // Between two backquotes is every second piece.
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found.retain(|text| text.starts_with(program));
    found
}

/// A world in which the names of the handbook stand for something.
struct Reader {
    world: World,
    request: String,
}

impl Reader {
    fn new(name: &str) -> Self {
        let folder = folder(&format!("handbook-{name}"));
        let folder = folder.display();
        let lines =
            format!("log: {{ file: {folder}/app.log }}\nstore: {{ path: {folder}/qcc.db }}\n");
        let world = World::configured(name, &["status:503", "echo"], &lines);
        let request = world.send();
        Self { world, request }
    }

    fn arguments(&self, command: &str) -> Vec<String> {
        let words = command.split_whitespace().skip(1);
        words
            .map(|word| match word {
                "ID" => self.request.clone(),
                "NAME" => "e1".to_owned(),
                "CLUSTER" => "c".to_owned(),
                "SESSION" => "some-session".to_owned(),
                other => other.replace("127.0.0.1:7861", &self.world.proxy.admin.to_string()),
            })
            .collect()
    }

    /// Its exit code, and what it says.
    fn run(&self, command: &str) -> (i32, String) {
        let mut arguments = self.arguments(command);
        if LASTING.contains(&&*arguments[0]) {
            // Before `--`, behind which everything is another program's.
            let end = arguments.iter().position(|argument| argument == "--");
            arguments.insert(end.unwrap_or(arguments.len()), "--help".to_owned());
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let admin = format!("http://{}", self.world.proxy.admin);
        let variables = [
            ("HOME", "/nope"),
            ("QCC_CONFIG", self.world.config.to_str().unwrap()),
            ("QCC_ADMIN", &admin),
        ];
        let (code, stdout, stderr) = run(&arguments, &variables);
        (code, stdout + &stderr)
    }
}

// DOC-01, DOC-02
#[test]
fn every_command_of_the_handbook_is_understood() {
    let commands = typed(&handbook(), "qcc ");
    assert!(commands.len() > 30, "{commands:?}");
    let reader = Reader::new("commands");
    for command in &commands {
        let (code, told) = reader.run(command);
        // A session that nobody bound is unknown, and a check may find something: answers, too.
        let fine = match code {
            0 => true,
            1 => command.starts_with("qcc probe"),
            6 => command.contains("SESSION"),
            _ => false,
        };
        assert!(fine, "{command}: {code}: {told}");
    }
    let (code, _) = reader.run("qcc endpoint ennable NAME");
    assert_eq!(code, 2, "a command that is not there would not be found");
}

// DOC-01, DOC-02
#[test]
fn every_address_of_the_handbook_is_answered() {
    let calls = typed(&handbook(), "curl ");
    assert!(calls.len() > 2, "{calls:?}");
    let reader = Reader::new("addresses");
    for call in calls {
        let path = call.strip_prefix("curl http://127.0.0.1:7861").unwrap();
        let answer = client::get(reader.world.proxy.admin, path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{call}: {answer}");
    }
}

// DOC-01
#[test]
fn every_reason_and_every_error_has_an_entry_with_a_remedy() {
    let doc = handbook();
    for reason in qcc_core::available::Reason::ALL {
        assert!(doc.contains(&format!("| `{reason}` | ")), "{reason}");
    }
    let failures =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/failures.md"))
            .unwrap();
    let (_, section) = failures
        .split_once("### Error types of our own answers")
        .unwrap();
    let section = section.split("\n#").next().unwrap();
    let codes = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut count = 0;
    for code in codes {
        assert!(doc.contains(&format!("`{code}`")), "{code} has no entry");
        count += 1;
    }
    assert!(count > 8);
    for row in doc
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("|--"))
    {
        assert!(!row.contains("|  |"), "an entry without a remedy: {row}");
    }
}

// CLI-25, CLI-26
#[test]
fn three_commands_tell_why_a_request_failed() {
    let world = World::new("three", &["status:401", "status:503"]);
    assert!(!world.ask(client::MESSAGE).starts_with("HTTP/1.1 200"));
    let reader = Reader {
        request: String::new(),
        world,
    };
    let (code, told) = reader.run("qcc doctor --json");
    let report: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(code, 0, "{told}");
    let findings = report["findings"].as_array().unwrap();
    let requests = findings
        .iter()
        .find(|one| one["step"] == "requests")
        .unwrap();
    let next = requests["remedy"].as_str().unwrap();
    assert!(next.starts_with("qcc doctor request "), "{told}");
    let (_, listed) = reader.run("qcc requests");
    let id = next.rsplit(' ').next().unwrap();
    assert!(listed.contains(id), "{listed}");
    let (code, told) = reader.run(next);
    assert_eq!(code, 1, "{told}");
    assert!(
        told.contains("the first step that fails: attempt"),
        "{told}"
    );
    assert!(told.contains("auth, status 401"), "{told}");
    assert!(told.contains("then qcc endpoint enable e0"), "{told}");
}

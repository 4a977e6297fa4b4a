//! The real `zzdot-client`, beside the appliance and under a clock that the test moves.

use std::{
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use serde_json::Value;

use super::{
    clock::Clock,
    daemon::{Daemon, PATIENCE, ZZDOT},
    program,
};

/// The client's daemon, beside the appliance.
pub struct Client {
    pub daemon: Daemon,
    folder: PathBuf,
}

impl Client {
    /// Starts it with this server; what it remembers is in the folder.
    pub fn start(folder: &Path, server: &str, listen: &str, clock: &Clock) -> Self {
        fs::create_dir_all(folder).unwrap();
        let state = folder.join("state");
        let config =
            format!("listen = [\"{listen}\"]\nstate-dir = {state:?}\nserver = \"{server}\"\n");
        fs::write(folder.join("client.toml"), config).unwrap();
        let mut command = tool(folder, &["run"]);
        clock.rule(&mut command);
        // It looks after its resolver by the time that passes, and not by the date.
        command.env_remove("FAKETIME_DONT_FAKE_MONOTONIC");
        Self {
            daemon: Daemon::start(command, folder),
            folder: folder.to_owned(),
        }
    }

    pub fn status(&self) -> Value {
        let output = program::run(&mut tool(&self.folder, &["status", "--json"]));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What it remembers of this resolver.
    pub fn remembers(&self, name: &str) -> Value {
        let asked = ["resolvers", "show", name, "--json"];
        let output = program::run(&mut tool(&self.folder, &asked));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until what it remembers is as it should be.
    pub fn wait_until(&self, name: &str, what: &str, done: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let remembered = self.remembers(name);
            if done(&remembered) && self.status()["walking"] == false {
                return remembered;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{what}: {remembered}\n{}\n{}",
                self.status(),
                self.daemon.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// How often it asked in cleartext who the server is.
    pub fn walks_in_clear(&self) -> usize {
        self.daemon.log().matches("in_clear=true").count()
    }
}

fn tool(folder: &Path, arguments: &[&str]) -> Command {
    let program = Path::new(ZZDOT).with_file_name("zzdot-client");
    assert!(
        program.is_file(),
        "this test needs the client: cargo build -p zzdot-client --bins"
    );
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg("--config")
        .arg(folder.join("client.toml"))
        .env("ZZDOT_LOG", "info")
        .env("NO_COLOR", "1");
    for variable in ["STATE_DIRECTORY", "RUNTIME_DIRECTORY", "LISTEN_FDS"] {
        command.env_remove(variable);
    }
    command
}

/// One question to the client, which the appliance answers out of its own zone.
pub fn ask(client: &str, name: &str) -> ResponseCode {
    let owner = Name::from_ascii(format!("server-type.{name}.")).unwrap();
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(owner, RecordType::TXT));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&message.to_vec().unwrap(), client).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    match answer.metadata.response_code {
        ResponseCode::NoError => assert!(!answer.answers.is_empty()),
        code => return code,
    }
    ResponseCode::NoError
}

//! What a person does first: starts the server with the README's command, and pastes what it prints.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::harness::postier;

const FREE_PORTS: &str = "--smtp 0 --submission 0 --submissions 0 --imap 0 --imaps 0";

struct Trial {
    child: Child,
    screen: BufReader<ChildStdout>,
}

impl Trial {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let screen = BufReader::new(child.stdout.take().unwrap());
        Trial { child, screen }
    }

    /// What is printed up to a line with this in it.
    fn read(&mut self, mark: &str) -> String {
        let mut seen = String::new();
        loop {
            let before = seen.len();
            assert!(self.screen.read_line(&mut seen).unwrap() > 0, "no {mark:?} in {seen}");
            if seen[before..].contains(mark) {
                return seen;
            }
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command printed below a heading: the indented lines that follow it.
fn command_below(screen: &str, heading: &str) -> String {
    let (_, rest) = screen.split_once(heading).unwrap_or_else(|| panic!("no {heading:?} in {screen}"));
    let lines = rest.lines().skip_while(|line| line.trim().is_empty());
    let lines: Vec<&str> = lines.take_while(|line| line.starts_with("  ")).collect();
    assert!(!lines.is_empty(), "nothing below {heading:?}");
    lines.join("\n")
}

/// Pastes a command into another terminal, which is in another directory.
fn paste(command: &str) -> String {
    let output = Command::new("sh").arg("-c").arg(command).current_dir("/").output().unwrap();
    assert!(output.status.success(), "{command}\n{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// From the first screen to a read mail, and an orderly end by what Ctrl-C sends.
fn follow(mut trial: Trial, pid: u32) {
    let screen = trial.read("Ctrl-C stops the server.");
    trial.read("Welcome to postier");
    paste(&command_below(&screen, "Send yourself a mail:"));
    let arrival = trial.read("Hello");
    assert!(arrival.contains("you@example.test"), "{arrival}");
    let mail = paste(&command_below(&screen, "Read the newest mail:"));
    assert!(mail.contains("Subject: Hello\r\n") && mail.contains("\r\n\r\nIt works.\r\n"), "{mail}");
    assert!(Command::new("kill").args(["-s", "INT", &pid.to_string()]).status().unwrap().success());
    let mut rest = String::new();
    trial.screen.read_to_string(&mut rest).unwrap();
    assert!(trial.child.wait().unwrap().success() && rest.contains("stopped"), "{rest}");
}

#[test]
#[ignore = "needs curl"]
fn what_try_prints_can_be_pasted() {
    let world = tempfile::tempdir().unwrap();
    // A shell has to be told about both.
    let directory = world.path().join("it's a directory");
    fs::create_dir(&directory).unwrap();
    let mut command = postier();
    command.args(["try", "--password", "it's $HOME"]).args(FREE_PORTS.split(' ')).current_dir(&directory);
    let trial = Trial::start(command);
    let pid = trial.child.id();
    follow(trial, pid);
}

#[test]
#[ignore = "needs cargo and curl"]
fn the_readmes_first_command_works() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let readme = fs::read_to_string(top.join("README.md")).unwrap();
    let first = readme.lines().find(|line| line.starts_with("cargo run ")).unwrap();
    let world = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    // As written, but for ports that nobody else has and a directory that goes away.
    let line = format!("exec {first} --dir {}/try {FREE_PORTS}", world.path().display());
    command.arg("-c").arg(line).current_dir(top);
    let trial = Trial::start(command);
    // cargo becomes the server: it has the same number.
    let pid = trial.child.id();
    follow(trial, pid);
}

//! Other programs, run to their end.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::Site;

/// A command that is ended when it takes longer than any client may.
pub(crate) fn client(site: &Site, name: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["240", name]).current_dir(site.path(""));
    // Nothing of whoever runs the tests: no netrc, no muttrc, no proxy.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", site.path("")).env("LANG", "C.UTF-8").env("TERM", "vt100");
    command
}

/// Runs it with something on its standard input.
pub(crate) fn run_with(command: &mut Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A client that does not read all of it has said why.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs it to a good end; what it printed.
pub(crate) fn good(command: &mut Command, input: &str) -> String {
    let output = run_with(command, input);
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out
}

pub(crate) fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Runs the test that calls this once more, as root in a mount namespace of its own; true in that second run. The
/// first one has succeeded then.
///
/// # Panics
/// If nobody here can be root, or the second run fails.
pub(crate) fn in_own_mounts(test: &str) -> bool {
    in_own(test, &[])
}

/// As [`in_own_mounts`], in a network of its own too, where every port and every address of loopback is free.
pub(crate) fn in_own_network(test: &str) -> bool {
    if !in_own(test, &["--net"]) {
        return false;
    }
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    true
}

fn in_own(test: &str, spaces: &[&str]) -> bool {
    const MARK: &str = "POSTIER_OWN_MOUNTS";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = Command::new(if root { "env" } else { "sudo" });
    if !root {
        let may = Command::new("sudo").args(["-n", "true"]).status().is_ok_and(|status| status.success());
        assert!(may, "{test} needs namespaces of its own: run it as root, or where sudo asks nothing");
        command.args(["-n", "env"]);
    }
    // Otherwise somebody else's namespace can keep a copy of a mount alive that is gone here.
    let rounds = std::env::var("POSTIER_ROUNDS").map(|rounds| format!("POSTIER_ROUNDS={rounds}"));
    command.arg(format!("{MARK}=1")).args(rounds).args(["unshare", "--mount", "--propagation", "private"]);
    command.args(spaces);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--include-ignored", "--nocapture"]);
    assert!(command.status().unwrap().success(), "{test}, run as root in namespaces of its own");
    false
}

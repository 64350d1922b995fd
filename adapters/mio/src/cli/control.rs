//! Telling the running server that something has changed: one line over the socket in its state directory, and back
//! its answer, which ends with the connection.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Loading a large site is quick; an answer that takes this long does not come.
const PATIENCE: Duration = Duration::from_secs(30);
/// More is no answer of a server.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What came of asking.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// The server has done it.
    Done,
    /// There is no server.
    NobodyThere,
    /// The server could not; its words.
    Refused(String),
}

/// Asks the server with this state directory to read its files again.
pub(super) fn reload(state: &Path) -> io::Result<Told> {
    tell(state, "reload\n")
}

/// Gives the server with this state directory a command, a whole line.
pub(super) fn tell(state: &Path, command: &str) -> io::Result<Told> {
    let answer = match ask(state, command) {
        Ok(answer) => answer,
        Err(error) if is_absence(&error) => return Ok(Told::NobodyThere),
        Err(error) => return Err(error),
    };
    // The end of line is the server's last word: without it, it ended in between.
    let Some(answer) = answer.strip_suffix('\n') else { return Ok(Told::NobodyThere) };
    if answer == "ok" || answer.starts_with("ok ") {
        return Ok(Told::Done);
    }
    Ok(Told::Refused(answer.strip_prefix("error ").unwrap_or(answer).to_owned()))
}

fn ask(state: &Path, command: &str) -> io::Result<String> {
    let mut socket = UnixStream::connect(state.join("control.sock"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(command.as_bytes())?;
    let mut answer = String::new();
    socket.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

/// No server was there, or it went away before it answered.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused | BrokenPipe | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    #[test]
    fn answers_are_understood() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(reload(dir.path()).unwrap(), Told::NobodyThere);
        let listener = UnixListener::bind(dir.path().join("control.sock")).unwrap();
        let server = std::thread::spawn(move || {
            for answer in ["ok\n", "ok 3 accounts\n", "error users:3: no\n  | bob:x\n", "error cut of", ""] {
                let (socket, _) = listener.accept().unwrap();
                let mut line = String::new();
                BufReader::new(&socket).read_line(&mut line).unwrap();
                assert_eq!(line, "reload\n");
                (&socket).write_all(answer.as_bytes()).unwrap();
            }
            // Who connects now is not answered any more.
            listener
        });
        assert_eq!(reload(dir.path()).unwrap(), Told::Done);
        assert_eq!(reload(dir.path()).unwrap(), Told::Done);
        assert_eq!(reload(dir.path()).unwrap(), Told::Refused("users:3: no\n  | bob:x".into()));
        assert_eq!(reload(dir.path()).unwrap(), Told::NobodyThere, "it ended in the middle of a word");
        assert_eq!(reload(dir.path()).unwrap(), Told::NobodyThere, "it ended without a word");
        let listener = server.join().unwrap();
        let asking = std::thread::spawn({
            let dir = dir.path().to_owned();
            move || reload(&dir).unwrap()
        });
        let (socket, _) = listener.accept().unwrap();
        // A close with unread octets is a reset.
        let mut first = [0];
        (&socket).read_exact(&mut first).unwrap();
        drop(socket);
        assert_eq!(asking.join().unwrap(), Told::NobodyThere);
        drop(listener);
        // The listener is gone and its socket still there.
        assert_eq!(reload(dir.path()).unwrap(), Told::NobodyThere);
    }
}

//! Telling the running server that something has changed: one line over the socket in its state directory, one
//! line back.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Loading a large site is quick; an answer that takes this long does not come.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let socket = match UnixStream::connect(state.join("control.sock")) {
        Ok(socket) => socket,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(Told::NobodyThere);
        }
        Err(error) => return Err(error),
    };
    socket.set_read_timeout(Some(PATIENCE))?;
    (&socket).write_all(b"reload\n")?;
    let mut answer = String::new();
    BufReader::new(&socket).read_line(&mut answer)?;
    let answer = answer.trim_end();
    match answer.strip_prefix("error ") {
        None if answer == "ok" || answer.starts_with("ok ") => Ok(Told::Done),
        None => Ok(Told::Refused(answer.to_owned())),
        Some(why) => Ok(Told::Refused(why.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn answers_are_understood() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(reload(dir.path()).unwrap(), Told::NobodyThere);
        let listener = UnixListener::bind(dir.path().join("control.sock")).unwrap();
        let server = std::thread::spawn(move || {
            for answer in ["ok\n", "ok 3 accounts\n", "error users:3: no\n", ""] {
                let (socket, _) = listener.accept().unwrap();
                let mut line = String::new();
                BufReader::new(&socket).read_line(&mut line).unwrap();
                assert_eq!(line, "reload\n");
                (&socket).write_all(answer.as_bytes()).unwrap();
            }
        });
        assert_eq!(reload(dir.path()).unwrap(), Told::Done);
        assert_eq!(reload(dir.path()).unwrap(), Told::Done);
        assert_eq!(reload(dir.path()).unwrap(), Told::Refused("users:3: no".into()));
        assert_eq!(reload(dir.path()).unwrap(), Told::Refused(String::new()));
        server.join().unwrap();
        // The listener is gone and its socket still there.
        assert_eq!(reload(dir.path()).unwrap(), Told::NobodyThere);
    }
}

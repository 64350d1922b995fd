//! Asking for a password on the terminal, without showing it.
//!
//! The terminal gives octet by octet and echoes nothing, so that Ctrl-C can put it back in order before the
//! program ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// The controlling terminal with echo off; as it was when dropped.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn open() -> io::Result<Self> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes &=
            !(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Nothing is left to be done about a terminal that is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// Asks one question. `Interrupted` when the person gives up with Ctrl-C or Ctrl-D.
///
/// # Errors
/// `NotFound` or similar without a terminal.
pub(super) fn ask_silently(question: &str) -> io::Result<Vec<u8>> {
    let mut silent = Silent::open()?;
    silent.terminal.write_all(question.as_bytes())?;
    let answer = read_answer(&mut silent.terminal);
    silent.terminal.write_all(b"\n")?;
    answer
}

fn read_answer(terminal: &mut impl Read) -> io::Result<Vec<u8>> {
    const CTRL_C: u8 = 0x03;
    const CTRL_D: u8 = 0x04;
    const CTRL_H: u8 = 0x08;
    const CTRL_U: u8 = 0x15;
    const DELETE: u8 = 0x7f;
    let mut answer = Vec::new();
    let mut octet = [0];
    loop {
        if terminal.read(&mut octet)? == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match octet[0] {
            b'\r' | b'\n' => return Ok(answer),
            CTRL_C => return Err(io::ErrorKind::Interrupted.into()),
            CTRL_D if answer.is_empty() => return Err(io::ErrorKind::Interrupted.into()),
            CTRL_U => answer.clear(),
            CTRL_H | DELETE => {
                // One character, whose later octets are 10xxxxxx in UTF-8.
                while answer.pop().is_some_and(|octet| octet & 0xc0 == 0x80) {}
            }
            octet => answer.push(octet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(typed: &str) -> Option<String> {
        read_answer(&mut typed.as_bytes()).ok().map(|answer| String::from_utf8(answer).unwrap())
    }

    #[test]
    fn lines_are_edited_as_a_terminal_does() {
        assert_eq!(answer("secret\nrest").as_deref(), Some("secret"));
        assert_eq!(answer("sä\x7f\x08\x08\x08x\r").as_deref(), Some("x"));
        assert_eq!(answer("wrong\x15right\n").as_deref(), Some("right"));
        assert_eq!(answer("\n").as_deref(), Some(""));
        assert_eq!(answer("sec\x03ret\n"), None);
        assert_eq!(answer("\x04"), None);
        assert_eq!(answer("cut"), None);
    }
}

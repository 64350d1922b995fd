//! An IMAP client that says exactly what it is told.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;

use super::Wire;

pub(crate) struct Imap {
    wire: Option<Wire>,
    tls: Arc<ClientConfig>,
    greeting: String,
    commands: u32,
}

impl Imap {
    pub(crate) fn connect(port: u16, implicit_tls: bool, tls: &Arc<ClientConfig>) -> Self {
        let mut wire = Wire::connect(port);
        if implicit_tls {
            wire = wire.into_tls(tls).unwrap();
        }
        Self::over(wire, tls)
    }

    /// On a connection that has said nothing yet.
    pub(crate) fn over(mut wire: Wire, tls: &Arc<ClientConfig>) -> Self {
        let greeting = wire.line().expect("a greeting");
        Imap { wire: Some(wire), tls: tls.clone(), greeting, commands: 0 }
    }

    pub(crate) fn greeting(&self) -> &str {
        &self.greeting
    }

    pub(crate) fn wire(&mut self) -> &mut Wire {
        self.wire.as_mut().expect("taken only within start_tls")
    }

    /// A response with its literals in it (octets that are not UTF-8 are replaced); `None` at the end.
    pub(crate) fn response(&mut self) -> Option<String> {
        let mut response = self.wire().line()?;
        while let Some(count) = literal(&response) {
            let octets = self.wire().octets(count)?;
            response.push_str("\r\n");
            response.push_str(&String::from_utf8_lossy(&octets));
            let line = self.wire().line()?;
            response.push_str(&line);
        }
        Some(response)
    }

    /// Sends a command without waiting; its tag.
    pub(crate) fn begin(&mut self, command: &str) -> String {
        self.commands += 1;
        let tag = format!("t{}", self.commands);
        self.wire().write(format!("{tag} {command}\r\n").as_bytes());
        tag
    }

    /// Untagged responses (without `* `) up to the end of a command, and its end (without the tag).
    pub(crate) fn finish(&mut self, tag: &str) -> (Vec<String>, String) {
        let mut untagged = Vec::new();
        loop {
            let response = self.response().unwrap_or_else(|| panic!("the connection ended: {untagged:?}"));
            if let Some(rest) = response.strip_prefix("* ") {
                untagged.push(rest.to_owned());
            } else if let Some(end) = response.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
                return (untagged, end.to_owned());
            } else {
                panic!("neither untagged nor {tag}: {response}");
            }
        }
    }

    pub(crate) fn run(&mut self, command: &str) -> (Vec<String>, String) {
        let tag = self.begin(command);
        self.finish(&tag)
    }

    /// A command to a server that may be killed meanwhile. A message to append stands in it as `{n+}` literal.
    ///
    /// # Errors
    /// When the server is gone.
    pub(crate) fn try_run(&mut self, command: &str) -> io::Result<(Vec<String>, String)> {
        self.commands += 1;
        let tag = format!("t{} ", self.commands);
        self.wire().try_write(format!("{tag}{command}\r\n").as_bytes())?;
        let mut untagged = Vec::new();
        loop {
            let response = self.response().ok_or(io::ErrorKind::UnexpectedEof)?;
            match response.strip_prefix(&tag) {
                Some(end) => return Ok((untagged, end.to_owned())),
                None => untagged.push(response),
            }
        }
    }

    /// A command that must succeed: its untagged responses.
    pub(crate) fn ok(&mut self, command: &str) -> Vec<String> {
        let (untagged, end) = self.run(command);
        assert!(end.starts_with("OK"), "{command}: {end}");
        untagged
    }

    /// A command that must fail: its end.
    pub(crate) fn refused(&mut self, command: &str) -> String {
        let (_, end) = self.run(command);
        assert!(end.starts_with("NO ") || end.starts_with("BAD "), "{command}: {end}");
        end
    }

    /// The untagged response that begins with `start`, of a command that must succeed.
    pub(crate) fn one(&mut self, command: &str, start: &str) -> String {
        let untagged = self.ok(command);
        let found = untagged.iter().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("{command}: no {start} in {untagged:?}")).clone()
    }

    /// APPEND with a synchronizing literal, with whatever stands between mailbox and message (`(\Seen)`, a date).
    pub(crate) fn append(&mut self, mailbox: &str, between: &str, message: &str) -> String {
        let tag = self.begin(&format!("APPEND {mailbox} {between}{{{}}}", message.len()));
        let go = self.response().expect("a continuation");
        assert!(go.starts_with('+'), "{go}");
        self.wire().write(format!("{message}\r\n").as_bytes());
        let (_, end) = self.finish(&tag);
        assert!(end.starts_with("OK"), "{end}");
        end
    }

    /// Begins to IDLE; the tag for [`Imap::done`].
    pub(crate) fn idle(&mut self) -> String {
        let tag = self.begin("IDLE");
        let go = self.response().expect("a continuation");
        assert!(go.starts_with('+'), "{go}");
        tag
    }

    /// Responses up to one that is `wanted`.
    pub(crate) fn hear(&mut self, wanted: &str) {
        let mut heard = Vec::new();
        loop {
            let response = self.response().unwrap_or_else(|| panic!("the end, and no {wanted}: {heard:?}"));
            if response.starts_with(wanted) {
                return;
            }
            heard.push(response);
        }
    }

    pub(crate) fn done(&mut self, tag: &str) {
        self.wire().write(b"DONE\r\n");
        let (_, end) = self.finish(tag);
        assert!(end.starts_with("OK"), "{end}");
    }

    pub(crate) fn start_tls(&mut self) {
        self.ok("STARTTLS");
        let wire = self.wire.take().expect("taken only here");
        self.wire = Some(wire.into_tls(&self.tls).unwrap());
    }
}

/// The count of a literal announced at the end of a line.
fn literal(line: &str) -> Option<usize> {
    let (_, count) = line.strip_suffix('}')?.rsplit_once('{')?;
    count.parse().ok()
}

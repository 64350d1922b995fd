//! An SMTP client that says exactly what it is told.

use std::sync::Arc;

use postier_core::wire::base64;
use rustls::ClientConfig;

use super::Wire;

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    /// All lines, without code and hyphen.
    pub(crate) lines: Vec<String>,
}

impl Reply {
    pub(crate) fn has(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }
}

pub(crate) struct Smtp {
    wire: Option<Wire>,
    tls: Arc<ClientConfig>,
}

impl Smtp {
    /// A connection that was greeted, or refused with another first reply than 220.
    pub(crate) fn connect_any(port: u16, tls: &Arc<ClientConfig>) -> (Self, Option<Reply>) {
        let mut smtp = Smtp { wire: Some(Wire::connect(port)), tls: tls.clone() };
        let greeting = smtp.reply();
        (smtp, greeting)
    }

    pub(crate) fn connect(port: u16, tls: &Arc<ClientConfig>) -> Self {
        let (smtp, greeting) = Self::connect_any(port, tls);
        assert_eq!(greeting.expect("a greeting").code, 220);
        smtp
    }

    /// A connection to a port where TLS comes first.
    pub(crate) fn connect_tls(port: u16, tls: &Arc<ClientConfig>) -> Self {
        let wire = Wire::connect(port).into_tls(tls).unwrap();
        let mut smtp = Smtp { wire: Some(wire), tls: tls.clone() };
        assert_eq!(smtp.reply().expect("a greeting").code, 220);
        smtp
    }

    pub(crate) fn wire(&mut self) -> &mut Wire {
        self.wire.as_mut().expect("taken only within start_tls")
    }

    /// The next reply; `None` when the connection has ended.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = self.wire().line()?;
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let code = code.unwrap_or_else(|| panic!("no reply: {line:?}"));
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Some(Reply { code, lines });
            }
        }
    }

    pub(crate) fn say(&mut self, line: &str) -> Reply {
        self.wire().write(format!("{line}\r\n").as_bytes());
        self.reply().unwrap_or_else(|| panic!("the connection ended at {line:?}"))
    }

    pub(crate) fn expect(&mut self, line: &str, code: u16) -> Reply {
        let reply = self.say(line);
        assert_eq!(reply.code, code, "{line}: {reply:?}");
        reply
    }

    pub(crate) fn start_tls(&mut self) {
        self.expect("STARTTLS", 220);
        let wire = self.wire.take().expect("taken only here");
        self.wire = Some(wire.into_tls(&self.tls).unwrap());
    }

    pub(crate) fn login(&mut self, user: &str, password: &str) {
        self.expect(&format!("AUTH PLAIN {}", plain(user, password)), 235);
    }

    /// MAIL, RCPT and DATA, which must be taken; the message has LF line ends and ends with one. The last reply.
    pub(crate) fn mail(&mut self, from: &str, to: &[&str], message: &str) -> Reply {
        self.expect(&format!("MAIL FROM:<{from}>"), 250);
        for to in to {
            self.expect(&format!("RCPT TO:<{to}>"), 250);
        }
        self.expect("DATA", 354);
        self.say(&format!("{}.", message.replace("\n.", "\n..").replace('\n', "\r\n")))
    }

    /// A mail that must be taken.
    pub(crate) fn deliver(&mut self, from: &str, to: &[&str], message: &str) -> Reply {
        let reply = self.mail(from, to, message);
        assert_eq!(reply.code, 250, "{reply:?}");
        reply
    }
}

/// The response of AUTH PLAIN (RFC 4616).
pub(crate) fn plain(user: &str, password: &str) -> String {
    base64::encode(format!("\0{user}\0{password}").as_bytes())
}

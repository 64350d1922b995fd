//! The trace that a mail server writes on top of a message: Return-Path and Received (RFC 5321 §4.4).
//!
//! Written once per message, the same for all its recipients, as on the wire: lines end with CRLF and stay
//! under [`COLUMNS_MAX`] columns where a single word allows it. What it will not do: look at the clock (the
//! date comes as text) or into the DNS.
//!
//! ```
//! use postier_core::smtp::trace::{Protocol, Received};
//!
//! let mut out = Vec::new();
//! Received {
//!     client_name: "client.example",
//!     client_host: None,
//!     client_address: Some("192.0.2.7".parse().unwrap()),
//!     host: "mail.example.org",
//!     protocol: Protocol { extended: true, tls: false, authenticated: false, utf8: false },
//!     local_user: None,
//!     tls: None,
//!     id: "1a2b3c4d",
//!     recipient: Some("you@example.org"),
//!     date: "Tue, 24 Nov 2026 04:19:24 +0000",
//! }
//! .write(&mut out);
//! assert_eq!(
//!     std::str::from_utf8(&out).unwrap(),
//!     "Received: from client.example ([192.0.2.7]) by mail.example.org with ESMTP\r\n\
//!      \tid 1a2b3c4d for <you@example.org>; Tue, 24 Nov 2026 04:19:24 +0000\r\n"
//! );
//! ```
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::address::Domain;

/// No line is longer, if its first word is not. RFC 5322 §2.1.1 asks for at most 78.
pub const COLUMNS_MAX: usize = 78;

/// How the message came: the `with` keyword (RFC 3848, RFC 6531 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// EHLO, not HELO.
    pub extended: bool,
    /// Inside TLS.
    pub tls: bool,
    /// After AUTH.
    pub authenticated: bool,
    /// MAIL said SMTPUTF8.
    pub utf8: bool,
}

/// What is known of the TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls<'a> {
    /// `TLSv1.3`
    pub version: &'a str,
    /// `TLS_AES_256_GCM_SHA384`
    pub cipher: &'a str,
}

/// One Received field.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// What the client said in EHLO or HELO. Whatever it is, it cannot forge another part of the field.
    pub client_name: &'a str,
    /// The host name of the client's address, verified both ways.
    pub client_host: Option<&'a str>,
    /// Where the client connects from. `None` leaves out everything about the client (mask-source).
    pub client_address: Option<IpAddr>,
    /// This server.
    pub host: &'a str,
    /// The `with` keyword.
    pub protocol: Protocol,
    /// The number of the user of this machine whose program handed it in: instead of client, protocol and TLS.
    pub local_user: Option<u32>,
    /// Version and cipher, as a comment.
    pub tls: Option<Tls<'a>>,
    /// What finds the message in our log: letters and digits.
    pub id: &'a str,
    /// The recipient, without brackets, if there is exactly one; naming one of several would tell it to the
    /// others (RFC 5321 §7.2).
    pub recipient: Option<&'a str>,
    /// As RFC 5322 §3.3 writes it.
    pub date: &'a str,
}

impl Protocol {
    /// The registered word.
    pub const fn keyword(self) -> &'static str {
        // RFC 6531 §4.3 has UTF8SMTP and its forms, RFC 3848 ESMTP and its forms; HELO has none.
        match (self.utf8, self.extended, self.tls, self.authenticated) {
            (true, _, false, false) => "UTF8SMTP",
            (true, _, false, true) => "UTF8SMTPA",
            (true, _, true, false) => "UTF8SMTPS",
            (true, _, true, true) => "UTF8SMTPSA",
            (false, false, _, _) => "SMTP",
            (false, true, false, false) => "ESMTP",
            (false, true, false, true) => "ESMTPA",
            (false, true, true, false) => "ESMTPS",
            (false, true, true, true) => "ESMTPSA",
        }
    }
}

impl Received<'_> {
    /// Appends the field with its last line end.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut folder = Folder { out, column: 0 };
        folder.start("Received:");
        if let Some(address) = self.client_address {
            let name = printable(self.client_name, self.protocol.utf8);
            let literal = match address.to_canonical() {
                IpAddr::V4(address) => Domain::V4(address),
                IpAddr::V6(address) => Domain::V6(address),
            };
            folder.word(&["from ", &name]);
            match self.client_host {
                Some(host) => folder.word(&["(", &printable(host, false), " ", &literal.to_string(), ")"]),
                None => folder.word(&["(", &literal.to_string(), ")"]),
            }
        }
        folder.word(&["by ", self.host]);
        match self.local_user {
            Some(user) => folder.word(&["(from userid ", &user.to_string(), ")"]),
            None => folder.word(&["with ", self.protocol.keyword()]),
        }
        if let Some(tls) = self.tls {
            folder.word(&["(", tls.version, " ", tls.cipher, ")"]);
        }
        folder.word(&["id ", self.id]);
        if let Some(recipient) = self.recipient {
            folder.word(&["for <", recipient, ">"]);
        }
        folder.stick(";");
        folder.word(&[self.date]);
        folder.end();
    }
}

/// Appends the Return-Path field, the first line of every delivered message (RFC 5321 §4.4). The path comes
/// without its brackets.
pub fn write_return_path(out: &mut Vec<u8>, reverse_path: &str) {
    // At most MAILBOX_BYTES_MAX and a few octets, far below the 998 of RFC 5322 §2.1.1; a path is never
    // folded.
    out.extend_from_slice(b"Return-Path: ");
    out.extend_from_slice(b"<");
    out.extend_from_slice(reverse_path.as_bytes());
    out.extend_from_slice(b">\r\n");
}

/// A name given by a stranger, with everything that could mean something in a header field as `?`.
fn printable(name: &str, utf8: bool) -> String {
    let fine = |c: char| match c {
        '.' | '-' | '_' | '[' | ']' | ':' => true,
        c if c.is_ascii() => c.is_ascii_alphanumeric(),
        c => utf8 && c.is_alphanumeric(),
    };
    name.chars().map(|c| if fine(c) { c } else { '?' }).collect()
}

/// Writes words with blanks between them, and a fold where the next would not fit.
struct Folder<'o> {
    out: &'o mut Vec<u8>,
    column: usize,
}

impl Folder<'_> {
    fn start(&mut self, name: &str) {
        self.column = 0;
        self.stick(name);
    }

    /// `parts` make one word, which is not broken.
    fn word(&mut self, parts: &[&str]) {
        let width: usize = parts.iter().map(|part| part.chars().count()).sum();
        // One for the blank, one for a semicolon that may be stuck on.
        if self.column + width + 2 > COLUMNS_MAX {
            // A reader may show a tab as eight columns.
            self.out.extend_from_slice(b"\r\n\t");
            self.column = 8;
        } else {
            self.stick(" ");
        }
        for part in parts {
            self.stick(part);
        }
    }

    fn stick(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.column += text.chars().count();
    }

    fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample<'a>() -> Received<'a> {
        Received {
            client_name: "client.example",
            client_host: Some("host.client.example"),
            client_address: Some("2001:db8::7".parse().unwrap()),
            host: "mail.example.org",
            protocol: Protocol { extended: true, tls: true, authenticated: true, utf8: false },
            local_user: None,
            tls: Some(Tls { version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384" }),
            id: "1a2b3c4d",
            recipient: None,
            date: "Tue, 24 Nov 2026 04:19:24 +0000",
        }
    }

    fn text(received: &Received<'_>) -> String {
        let mut out = Vec::new();
        received.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn says_all_it_knows() {
        assert_eq!(
            text(&sample()),
            "Received: from client.example (host.client.example [IPv6:2001:db8::7])\r\n\
             \tby mail.example.org with ESMTPSA (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n\
             \tid 1a2b3c4d; Tue, 24 Nov 2026 04:19:24 +0000\r\n"
        );
    }

    #[test]
    fn mask_source_leaves_the_client_out() {
        let masked = text(&Received { client_address: None, ..sample() });
        assert!(masked.starts_with("Received: by mail.example.org with ESMTPSA"));
        assert!(!masked.contains("client"));
    }

    #[test]
    fn a_local_user_is_named_by_number() {
        let local = Received { client_address: None, local_user: Some(1000), tls: None, ..sample() };
        assert!(text(&local).starts_with("Received: by mail.example.org (from userid 1000) id 1a2b3c4d;"));
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address() {
        let received = Received { client_address: Some("::ffff:192.0.2.1".parse().unwrap()), ..sample() };
        assert!(text(&received).contains(" [192.0.2.1])"));
    }

    #[test]
    fn a_name_forges_nothing() {
        let forged = Received { client_name: "x(by\u{e9}me;\"", client_host: None, ..sample() };
        assert!(text(&forged).starts_with("Received: from x?by?me?? ([IPv6"));
    }

    #[test]
    fn every_keyword_is_registered() {
        let mut keywords = Vec::new();
        for bits in 0..16 {
            let [extended, tls, authenticated, utf8] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
            let keyword = Protocol { extended, tls, authenticated, utf8 }.keyword();
            assert_eq!(keyword.starts_with("UTF8"), utf8);
            if extended || utf8 {
                assert_eq!(keyword.trim_end_matches('A').ends_with('S'), tls, "{keyword}");
                assert_eq!(keyword.ends_with('A'), authenticated, "{keyword}");
            }
            keywords.push(keyword);
        }
        keywords.sort_unstable();
        keywords.dedup();
        assert_eq!(keywords.len(), 9);
    }

    #[test]
    fn return_path() {
        for (path, line) in [("", "Return-Path: <>\r\n"), ("a@b", "Return-Path: <a@b>\r\n")] {
            let mut out = Vec::new();
            write_return_path(&mut out, path);
            assert_eq!(out, line.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn lines_are_short_and_never_blank(
            client_name in "\\PC{1,60}",
            host in "[a-z]{1,60}",
            recipient in "[a-z]{1,60}",
            utf8: bool,
        ) {
            let protocol = Protocol { utf8, ..sample().protocol };
            let received = Received { client_name: &client_name, host: &host, recipient: Some(&recipient), protocol, ..sample() };
            let text = text(&received);
            prop_assert!(text.ends_with("\r\n"));
            for (at, line) in text.split_terminator("\r\n").enumerate() {
                prop_assert!(line.replace('\t', "        ").chars().count() <= COLUMNS_MAX, "{}", text);
                prop_assert!(at == 0 || line.starts_with('\t') && !line.trim().is_empty());
            }
        }
    }
}

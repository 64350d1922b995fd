//! What a sender is told: a mail could not be delivered, is delayed, or has been handed on (RFC 3464, RFC 3461).
//!
//! A notice is a message of three parts: words for a person, fields for a program, and the header of the original (or all
//! of it, where the sender asked for that). It goes to the reverse-path with a null one of its own, so nothing is ever
//! told about a notice (RFC 5321 §4.5.5).
//!
//! ```
//! use postier_core::queue::notice::*;
//! let notice = Notice {
//!     host: "mail.example.org",
//!     to: "me@example.org",
//!     id: "4f3a",
//!     now: 1_764_000_000,
//!     arrived: 1_763_999_000,
//!     envelope_id: None,
//!     utf8: false,
//!     action: Action::Failed,
//!     recipients: vec![About {
//!         forward_path: "bob@example.net",
//!         original: None,
//!         remote: Some("mx.example.net"),
//!         reply: "550 5.1.1 No such user",
//!     }],
//!     returned: Returned::Header,
//! };
//! let text = String::from_utf8(notice.head()).unwrap();
//! assert!(text.contains("To: <me@example.org>\n"));
//! assert!(text.contains("Final-Recipient: rfc822; bob@example.net\nAction: failed\nStatus: 5.1.1\n"));
//! assert!(text.contains("There is no such mailbox there. Check the spelling of the address."));
//! ```

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::mime::date::format_rfc5322;
use crate::wire::xtext;

/// What happened (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It will not be tried again.
    Failed,
    /// It has not worked yet, and is tried until then (seconds since 1970).
    Delayed {
        /// When it is given up.
        until: i64,
    },
    /// Handed to a server that says nothing about delivery itself (RFC 3461 §5.2.2).
    Relayed,
}

/// How much of the original comes back (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// Its header.
    Header,
    /// All of it.
    Full,
}

/// One recipient of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About<'a> {
    /// Without brackets.
    pub forward_path: &'a str,
    /// `ORCPT=`: type and address, decoded.
    pub original: Option<(&'a str, &'a [u8])>,
    /// The server that was asked last.
    pub remote: Option<&'a str>,
    /// Its words, or ours: a code, an enhanced code if there is one, a text.
    pub reply: &'a str,
}

/// A notice to a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice<'a> {
    /// Who tells it.
    pub host: &'a str,
    /// The reverse-path of the original, without brackets; never empty.
    pub to: &'a str,
    /// Names this notice: part of its Message-ID and of its boundary, so it must not be in the original. Letters and
    /// digits.
    pub id: &'a str,
    /// In seconds since 1970.
    pub now: i64,
    /// When the original arrived, in seconds since 1970.
    pub arrived: i64,
    /// `ENVID=` of the original, decoded.
    pub envelope_id: Option<&'a [u8]>,
    /// Addresses or the original's header are UTF-8 (RFC 6533).
    pub utf8: bool,
    /// What happened, to all of `recipients`.
    pub action: Action,
    /// To whom.
    pub recipients: Vec<About<'a>>,
    /// What follows the head: the original's header, or all of it.
    pub returned: Returned,
}

/// The Message-ID of the notice of this name by this host, in its brackets.
pub fn message_id(id: &str, host: &str) -> String {
    format!("<{id}@{host}>")
}

impl Notice<'_> {
    /// Everything before the octets of the original, with LF line ends.
    pub fn head(&self) -> Vec<u8> {
        let mut out = String::new();
        self.write_header(&mut out);
        self.write_words(&mut out);
        self.write_fields(&mut out);
        let kind = match (self.returned, self.utf8) {
            (Returned::Header, false) => "text/rfc822-headers",
            (Returned::Header, true) => "message/global-headers",
            (Returned::Full, false) => "message/rfc822",
            (Returned::Full, true) => "message/global",
        };
        push(&mut out, format_args!("\n--{}\nContent-Type: {kind}\n", self.boundary()));
        push(&mut out, format_args!("Content-Transfer-Encoding: 8bit\n\n"));
        out.into_bytes()
    }

    /// What follows the octets of the original.
    pub fn tail(&self) -> Vec<u8> {
        format!("\n--{}--\n", self.boundary()).into_bytes()
    }

    fn boundary(&self) -> String {
        format!("{}/{}", self.id, self.host)
    }

    fn write_header(&self, out: &mut String) {
        let subject = match self.action {
            Action::Failed => "Undelivered mail returned to sender",
            Action::Delayed { .. } => "Your mail is delayed (no need to send it again)",
            Action::Relayed => "Your mail has been handed on",
        };
        push(out, format_args!("From: Mail delivery <MAILER-DAEMON@{}>\n", self.host));
        push(out, format_args!("To: <{}>\nSubject: {subject}\n", self.to));
        push(out, format_args!("Date: {}\n", format_rfc5322(self.now, 0)));
        push(out, format_args!("Message-ID: {}\n", message_id(self.id, self.host)));
        // RFC 3834 §2: nobody is to answer this automatically.
        out.push_str("Auto-Submitted: auto-replied\nMIME-Version: 1.0\n");
        push(out, format_args!("Content-Type: multipart/report; report-type=delivery-status;\n"));
        push(out, format_args!("\tboundary=\"{}\"\n\n", self.boundary()));
    }

    fn write_words(&self, out: &mut String) {
        push(out, format_args!("--{}\nContent-Type: text/plain; charset=utf-8\n", self.boundary()));
        push(
            out,
            format_args!("Content-Transfer-Encoding: 8bit\n\nThis is the mail server {}.\n\n", self.host),
        );
        let arrived = format_rfc5322(self.arrived, 0);
        match self.action {
            Action::Failed => push(out, format_args!("Your mail of {arrived} could not be delivered to:\n")),
            Action::Delayed { until } => push(
                out,
                format_args!(
                    "Your mail of {arrived} has not been delivered yet. You need not do anything: it is tried\n\
                     again until {}. It waits for:\n",
                    format_rfc5322(until, 0)
                ),
            ),
            Action::Relayed => push(
                out,
                format_args!(
                    "You asked to be told what becomes of your mail of {arrived}. It has been handed to servers that\n\
                     say nothing more about it, for:\n"
                ),
            ),
        }
        for about in &self.recipients {
            push(out, format_args!("\n  {}\n", about.forward_path));
            match about.remote {
                Some(remote) => push(out, format_args!("    The server {remote} says: {}\n", about.reply)),
                None => push(out, format_args!("    {}\n", about.reply)),
            }
            if self.action == Action::Failed {
                push(out, format_args!("    {}\n", advice(status(about.reply, self.action))));
            }
        }
        let returned = match self.returned {
            Returned::Header => "The header of your mail is attached.",
            Returned::Full => "Your mail is attached.",
        };
        push(out, format_args!("\n{returned}\n"));
    }

    fn write_fields(&self, out: &mut String) {
        let kind = if self.utf8 { "message/global-delivery-status" } else { "message/delivery-status" };
        push(out, format_args!("\n--{}\nContent-Type: {kind}\n", self.boundary()));
        if self.utf8 {
            out.push_str("Content-Transfer-Encoding: 8bit\n");
        }
        out.push('\n');
        if let Some(id) = self.envelope_id {
            push(out, format_args!("Original-Envelope-Id: {}\n", xtext::encode(id)));
        }
        push(out, format_args!("Reporting-MTA: dns; {}\n", self.host));
        push(out, format_args!("Arrival-Date: {}\n", format_rfc5322(self.arrived, 0)));
        for about in &self.recipients {
            out.push('\n');
            if let Some((kind, address)) = about.original {
                let address = String::from_utf8_lossy(address);
                push(out, format_args!("Original-Recipient: {kind}; {address}\n"));
            }
            let kind = if about.forward_path.is_ascii() { "rfc822" } else { "utf-8" };
            push(out, format_args!("Final-Recipient: {kind}; {}\n", about.forward_path));
            let action = match self.action {
                Action::Failed => "failed",
                Action::Delayed { .. } => "delayed",
                Action::Relayed => "relayed",
            };
            let [class, subject, detail] = status(about.reply, self.action);
            push(out, format_args!("Action: {action}\nStatus: {class}.{subject}.{detail}\n"));
            if let Some(remote) = about.remote {
                push(
                    out,
                    format_args!("Remote-MTA: dns; {remote}\nDiagnostic-Code: smtp; {}\n", about.reply),
                );
            }
            push(out, format_args!("Last-Attempt-Date: {}\n", format_rfc5322(self.now, 0)));
            if let Action::Delayed { until } = self.action {
                push(out, format_args!("Will-Retry-Until: {}\n", format_rfc5322(until, 0)));
            }
        }
    }
}

fn push(out: &mut String, words: core::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = core::fmt::Write::write_fmt(out, words);
}

/// The enhanced code of a reply; made from its class and the action where it has none (RFC 3464 §2.3.4: the class is
/// that of the action).
fn status(reply: &str, action: Action) -> [u16; 3] {
    let class = match action {
        Action::Failed => 5,
        Action::Delayed { .. } => 4,
        Action::Relayed => 2,
    };
    let mut words = reply.split(' ');
    let code = words.next().unwrap_or_default();
    let enhanced = words.next().and_then(|word| {
        let mut numbers = word.split('.').map(|number| number.parse::<u16>().ok());
        let found = [numbers.next()??, numbers.next()??, numbers.next()??];
        numbers.next().is_none().then_some(found)
    });
    match (enhanced, code) {
        // What failed at last may have failed with 4.x.x each time.
        (Some([_, subject, detail]), _) => [class, subject, detail],
        (None, "550" | "553") if class == 5 => [5, 1, 1],
        (None, "552") if class == 5 => [5, 2, 2],
        (None, _) => [class, 0, 0],
    }
}

/// What a person can do, by the enhanced code (RFC 3463 §3).
const fn advice(status: [u16; 3]) -> &'static str {
    match status {
        [_, 1, 1] => "There is no such mailbox there. Check the spelling of the address.",
        [_, 1, 2] => "There is no such domain, or it takes no mail. Check what stands behind the @.",
        [_, 1, 10] => "This domain says that it takes no mail at all.",
        [_, 1, _] => "The address is not accepted. Check its spelling.",
        [_, 2, 2] => "The mailbox is full. Tell the person in another way, and try later.",
        [_, 2, _] => "The mailbox does not take mail now. Tell the person in another way.",
        [_, 3, 4] => "The mail is too big for that server. Send a link, or smaller parts.",
        [_, 4, 6] => {
            "The mail goes round in circles. Whoever looks after that domain must mend its forwarding."
        }
        [_, 4, _] => "The server there could not be reached for days. Check the address, or try later.",
        [_, 6, _] => "The server there does not take mail of this form. Try plain text without attachments.",
        [_, 7, _] => "The server there refuses the mail by its own rules. Ask the person to let you through.",
        _ => "Ask whoever looks after that server, and show them this notice.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mime::bodystructure;
    use crate::mime::structure_parser::StructureParser;
    use alloc::vec;

    fn notice(action: Action) -> Notice<'static> {
        Notice {
            host: "mail.example.org",
            to: "me@example.org",
            id: "a1b2",
            now: 1_764_000_000,
            arrived: 1_763_990_000,
            envelope_id: Some(b"id 1"),
            utf8: false,
            action,
            recipients: vec![About {
                forward_path: "bob@example.net",
                original: Some(("rfc822", b"robert@example.com")),
                remote: Some("mx.example.net"),
                reply: "450 4.2.0 Greylisted",
            }],
            returned: Returned::Header,
        }
    }

    fn whole(notice: &Notice<'_>, original: &[u8]) -> String {
        String::from_utf8([notice.head(), original.to_vec(), notice.tail()].concat()).unwrap()
    }

    #[test]
    fn a_notice_is_a_report_of_three_parts() {
        let text = whole(&notice(Action::Failed), b"Subject: hello\nFrom: me@example.org\n");
        let mut parser = StructureParser::new();
        parser.feed(text.as_bytes());
        let mut shown = Vec::new();
        bodystructure::write(&mut shown, &parser.finish(), false);
        let shown = String::from_utf8(shown).unwrap();
        for part in [
            r#"("text" "plain""#,
            r#"("message" "delivery-status""#,
            r#"("text" "rfc822-headers""#,
            r#""report")"#,
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(text.contains("Status: 5.2.0\n"), "what failed at last has failed: {text}");
        assert!(text.contains("Original-Envelope-Id: id+201\n"));
        assert!(text.contains("Original-Recipient: rfc822; robert@example.com\n"));
        assert!(text.contains("Diagnostic-Code: smtp; 450 4.2.0 Greylisted\n"));
        assert!(text.ends_with("Subject: hello\nFrom: me@example.org\n\n--a1b2/mail.example.org--\n"));
    }

    #[test]
    fn a_delay_says_until_when_and_that_nothing_is_to_be_done() {
        let text = whole(&notice(Action::Delayed { until: 1_764_300_000 }), b"");
        assert!(text.contains("Action: delayed\nStatus: 4.2.0\n"));
        assert!(text.contains("Will-Retry-Until: Fri, 28 Nov 2025 03:20:00 +0000\n"), "{text}");
        assert!(text.contains("no need to send it again"));
        assert!(!text.contains("Ask the person"));
    }

    #[test]
    fn utf8_is_told_in_utf8() {
        let mut utf8 = notice(Action::Failed);
        utf8.utf8 = true;
        utf8.recipients[0].forward_path = "böb@example.net";
        let text = whole(&utf8, b"");
        assert!(text.contains("Final-Recipient: utf-8; böb@example.net\n"));
        assert!(text.contains("message/global-delivery-status") && text.contains("message/global-headers"));
    }

    #[test]
    fn codes_without_an_enhanced_one_get_a_class() {
        for (reply, action, expected) in [
            ("550 no", Action::Failed, [5, 1, 1]),
            ("552 full", Action::Failed, [5, 2, 2]),
            ("554 no", Action::Failed, [5, 0, 0]),
            ("421 4.4.2 gone", Action::Delayed { until: 0 }, [4, 4, 2]),
            ("451 later", Action::Failed, [5, 0, 0]),
            ("250 ok", Action::Relayed, [2, 0, 0]),
            ("", Action::Failed, [5, 0, 0]),
            ("550 5.1.1.1 x", Action::Failed, [5, 1, 1]),
        ] {
            assert_eq!(status(reply, action), expected, "{reply}");
        }
    }
}

//! The envelope of a queued message: for whom it is, and what has become of each recipient. One small text file beside
//! the message, replaced as a whole whenever something is known.
//!
//! ```text
//! postier-envelope 1
//! arrived 1764000000
//! from me@example.org
//! size 1234 1260
//! needs 8bitmime smtputf8
//! ret hdrs
//! envid 42
//! signature DKIM-Signature:+20v+3D1;+20…
//! to bob@example.net waiting 1764000300 2 450+204.2.0+20Greylisted notify=failure orcpt=rfc822;bob@example.com told
//! to eve@example.net delivered 1764000001 250+20Ok
//! to joe@example.net failed 1764000001 550+205.1.1+20No+20such+20user
//! to ann@example.org waiting 0 0 - mailbox=1764000000.L4f3a.mx
//! end
//! ```
//!
//! Values are in xtext (RFC 3461 §4), so no blank or line end can be in one. A file without its `end` is none: a write
//! was cut off, and the one before it counts. Words that are not known are refused, for what a newer version wrote must
//! not be lost by an older one.
//!
//! ```
//! use postier_core::queue::envelope::{Envelope, Recipient, State};
//! let mut envelope = Envelope { reverse_path: "me@example.org".into(), ..Envelope::default() };
//! envelope.recipients.push(Recipient::new("bob@example.net"));
//! let file = envelope.to_file();
//! assert_eq!(Envelope::from_file(&file), Some(envelope));
//! assert_eq!(Envelope::from_file(&file[..file.len() - 1]), None);
//! ```

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use crate::smtp::parameter::Notify;
use crate::wire::xtext;

/// The first line.
const MAGIC: &str = "postier-envelope 1";
/// Octets of a reply that are kept for the bounce.
pub const REPLY_BYTES_MAX: usize = 1200;

/// What is known of a queued message beside its octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// When it was accepted, in seconds since 1970 (UTC).
    pub arrived: i64,
    /// Without brackets; empty for `<>`.
    pub reverse_path: String,
    /// Octets of the file.
    pub size: u64,
    /// Octets with CRLF line ends.
    pub wire_size: u64,
    /// It has octets over 127.
    pub eight_bit: bool,
    /// Its header or an address is UTF-8.
    pub smtputf8: bool,
    /// An operator holds it: nothing is tried.
    pub held: bool,
    /// `RET=` (RFC 3461 §4.3): `Some(true)` is FULL.
    pub return_full: Option<bool>,
    /// `ENVID=`, decoded.
    pub envelope_id: Option<Vec<u8>>,
    /// DKIM-Signature fields to stand in front of the message, with LF line ends; empty where it is not signed.
    pub signature: Vec<u8>,
    /// In the order of their RCPT.
    pub recipients: Vec<Recipient>,
}

/// One recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Without brackets.
    pub forward_path: String,
    /// `NOTIFY=` (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// `ORCPT=` (RFC 3461 §4.2): type and address, decoded.
    pub original: Option<(String, Vec<u8>)>,
    /// What has become of it.
    pub state: State,
    /// The sender has been told that it takes long.
    pub delay_told: bool,
    /// It is an account of ours whose mailbox could not be had when the mail came: the base name that its copy gets
    /// there. `None` for who is elsewhere.
    pub mailbox: Option<String>,
}

/// What has become of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is to be tried.
    Waiting {
        /// Not before, in seconds since 1970.
        next: i64,
        /// How often it has been tried.
        attempts: u32,
        /// What came of the last try; empty before the first.
        last: String,
    },
    /// Another server has taken responsibility.
    Delivered {
        /// When, in seconds since 1970.
        at: i64,
        /// Its words.
        reply: String,
    },
    /// It will not be tried again.
    Failed {
        /// Since when, in seconds since 1970.
        at: i64,
        /// Why: the server's words or ours.
        why: String,
    },
}

impl Recipient {
    /// One that is to be tried at once.
    pub fn new(forward_path: &str) -> Self {
        Recipient {
            forward_path: forward_path.into(),
            notify: None,
            original: None,
            state: State::Waiting { next: 0, attempts: 0, last: String::new() },
            delay_told: false,
            mailbox: None,
        }
    }

    /// What stands right of the last `@`; an address literal with its brackets.
    pub fn domain(&self) -> &str {
        self.forward_path.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// When it is to be tried, if it is.
    pub fn next(&self) -> Option<i64> {
        match self.state {
            State::Waiting { next, .. } => Some(next),
            State::Delivered { .. } | State::Failed { .. } => None,
        }
    }
}

impl Envelope {
    /// Nothing is left to try.
    pub fn is_done(&self) -> bool {
        self.recipients.iter().all(|recipient| recipient.next().is_none())
    }

    /// When something is to be tried next; nothing while it is held.
    pub fn next(&self) -> Option<i64> {
        self.recipients.iter().filter_map(Recipient::next).min().filter(|_| !self.held)
    }

    /// The whole file.
    pub fn to_file(&self) -> Vec<u8> {
        let mut out = String::from(MAGIC);
        // Writing into a String cannot fail.
        let mut line = |words: core::fmt::Arguments<'_>| {
            let _ = out.write_fmt(format_args!("\n{words}"));
        };
        line(format_args!("arrived {}", self.arrived));
        line(format_args!("from {}", encode(self.reverse_path.as_bytes())));
        line(format_args!("size {} {}", self.size, self.wire_size));
        if self.eight_bit || self.smtputf8 {
            let words = [(self.eight_bit, " 8bitmime"), (self.smtputf8, " smtputf8")];
            let words: String = words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
            line(format_args!("needs{words}"));
        }
        if self.held {
            line(format_args!("held"));
        }
        if let Some(full) = self.return_full {
            line(format_args!("ret {}", if full { "full" } else { "hdrs" }));
        }
        if let Some(id) = &self.envelope_id {
            line(format_args!("envid {}", encode(id)));
        }
        if !self.signature.is_empty() {
            line(format_args!("signature {}", encode(&self.signature)));
        }
        for recipient in &self.recipients {
            line(format_args!("to {}", recipient_words(recipient)));
        }
        out.push_str("\nend\n");
        out.into_bytes()
    }

    /// Reads a file; `None` if it is none, or not whole.
    pub fn from_file(file: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(file).ok()?;
        let mut lines = text.strip_suffix("\nend\n")?.split('\n');
        if lines.next() != Some(MAGIC) {
            return None;
        }
        let mut envelope = Envelope::default();
        for line in lines {
            let (keyword, words) = line.split_once(' ').unwrap_or((line, ""));
            let mut words = words.split(' ');
            match keyword {
                "arrived" => envelope.arrived = words.next()?.parse().ok()?,
                "from" => envelope.reverse_path = text_of(words.next()?)?,
                "size" => {
                    envelope.size = words.next()?.parse().ok()?;
                    envelope.wire_size = words.next()?.parse().ok()?;
                }
                "needs" => {
                    for word in words {
                        match word {
                            "8bitmime" => envelope.eight_bit = true,
                            "smtputf8" => envelope.smtputf8 = true,
                            _ => return None,
                        }
                    }
                }
                "held" => envelope.held = true,
                "ret" => envelope.return_full = Some(words.next()? == "full"),
                "envid" => envelope.envelope_id = Some(decode(words.next()?)?),
                "signature" => envelope.signature = decode(words.next()?)?,
                "to" => envelope.recipients.push(recipient_of(words)?),
                _ => return None,
            }
        }
        Some(envelope)
    }
}

fn recipient_words(recipient: &Recipient) -> String {
    let mut out = encode(recipient.forward_path.as_bytes());
    let reply = |text: &str| encode(shorten(text).as_bytes());
    out.push_str(&match &recipient.state {
        State::Waiting { next, attempts, last } => format!(" waiting {next} {attempts} {}", reply(last)),
        State::Delivered { at, reply: text } => format!(" delivered {at} {}", reply(text)),
        State::Failed { at, why } => format!(" failed {at} {}", reply(why)),
    });
    if let Some(notify) = recipient.notify {
        out.push_str(" notify=");
        out.push_str(&notify_words(notify));
    }
    if let Some((kind, address)) = &recipient.original {
        out.push_str(&format!(" orcpt={};{}", encode(kind.as_bytes()), encode(address)));
    }
    if recipient.delay_told {
        out.push_str(" told");
    }
    if let Some(base) = &recipient.mailbox {
        out.push_str(&format!(" mailbox={}", encode(base.as_bytes())));
    }
    out
}

fn recipient_of<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Recipient> {
    let mut recipient = Recipient::new(&text_of(words.next()?)?);
    recipient.state = match words.next()? {
        "waiting" => State::Waiting {
            next: words.next()?.parse().ok()?,
            attempts: words.next()?.parse().ok()?,
            last: text_of(words.next()?)?,
        },
        "delivered" => State::Delivered { at: words.next()?.parse().ok()?, reply: text_of(words.next()?)? },
        "failed" => State::Failed { at: words.next()?.parse().ok()?, why: text_of(words.next()?)? },
        _ => return None,
    };
    for word in words {
        if let Some(list) = word.strip_prefix("notify=") {
            recipient.notify = Some(notify_of(list)?);
        } else if let Some(original) = word.strip_prefix("orcpt=") {
            let (kind, address) = original.split_once(';')?;
            recipient.original = Some((text_of(kind)?, decode(address)?));
        } else if word == "told" {
            recipient.delay_told = true;
        } else if let Some(base) = word.strip_prefix("mailbox=") {
            recipient.mailbox = Some(text_of(base)?);
        } else {
            return None;
        }
    }
    Some(recipient)
}

/// `NOTIFY=` as a word.
pub(crate) fn notify_words(notify: Notify) -> String {
    let words = [(notify.success, "success"), (notify.failure, "failure"), (notify.delay, "delay")];
    let words: Vec<&str> = words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    if words.is_empty() { "never".to_string() } else { words.join(",") }
}

/// Reads what [`notify_words`] has written.
pub(crate) fn notify_of(list: &str) -> Option<Notify> {
    let mut notify = Notify::default();
    for word in list.split(',') {
        match word {
            "never" => {}
            "success" => notify.success = true,
            "failure" => notify.failure = true,
            "delay" => notify.delay = true,
            _ => return None,
        }
    }
    Some(notify)
}

/// xtext, with a lone `-` for nothing, so that every value is a word. A real `-` is spelt out.
pub(crate) fn encode(value: &[u8]) -> String {
    match value {
        b"" => "-".into(),
        b"-" => "+2D".into(),
        value => xtext::encode(value),
    }
}

pub(crate) fn decode(word: &str) -> Option<Vec<u8>> {
    match word {
        "-" => Some(Vec::new()),
        "" => None,
        word => xtext::decode(word.as_bytes()),
    }
}

pub(crate) fn text_of(word: &str) -> Option<String> {
    String::from_utf8(decode(word)?).ok()
}

/// As much of a text as is kept, cut between characters.
fn shorten(text: &str) -> &str {
    let mut end = text.len().min(REPLY_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state() -> impl Strategy<Value = State> {
        prop_oneof![
            (any::<i64>(), any::<u32>(), ".{0,20}").prop_map(|(next, attempts, last)| State::Waiting {
                next,
                attempts,
                last
            }),
            (any::<i64>(), ".{0,20}").prop_map(|(at, reply)| State::Delivered { at, reply }),
            (any::<i64>(), ".{0,20}").prop_map(|(at, why)| State::Failed { at, why }),
        ]
    }

    fn recipient() -> impl Strategy<Value = Recipient> {
        let notify =
            any::<[bool; 3]>().prop_map(|[success, failure, delay]| Notify { success, failure, delay });
        let original = ("[a-z0-9-]{1,8}", any::<Vec<u8>>());
        let mailbox = proptest::option::of("\\PC{0,20}");
        let told = any::<bool>();
        ("\\PC{0,20}", proptest::option::of(notify), proptest::option::of(original), state(), told, mailbox)
            .prop_map(|(forward_path, notify, original, state, delay_told, mailbox)| Recipient {
                forward_path,
                notify,
                original,
                state,
                delay_told,
                mailbox,
            })
    }

    prop_compose! {
        fn envelope()(
            numbers in any::<(i64, u64, u64)>(),
            flags in any::<[bool; 3]>(),
            reverse_path in "\\PC{0,20}",
            return_full in any::<Option<bool>>(),
            envelope_id in any::<Option<Vec<u8>>>(),
            signature in any::<Vec<u8>>(),
            recipients in proptest::collection::vec(recipient(), 0..4),
        ) -> Envelope {
            let (arrived, size, wire_size) = numbers;
            let [eight_bit, smtputf8, held] = flags;
            Envelope {
                arrived, reverse_path, size, wire_size, eight_bit, smtputf8, held, return_full, envelope_id, signature,
                recipients,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(envelope in envelope()) {
            let file = envelope.to_file();
            prop_assert_eq!(Envelope::from_file(&file), Some(envelope));
            // A file that was cut off anywhere is none.
            for end in 0..file.len() {
                prop_assert_eq!(Envelope::from_file(&file[..end]), None);
            }
        }

        #[test]
        fn any_octets_are_survived(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::from_file(&octets);
            let _ = Envelope::from_file(&[MAGIC.as_bytes(), b"\nto ", &octets, b"\nend\n"].concat());
        }
    }

    #[test]
    fn what_a_newer_version_wrote_is_not_lost_by_an_older_one() {
        let file = b"postier-envelope 1\narrived 1\nfrom -\nsize 1 1\nwhatever 1\nend\n";
        assert_eq!(Envelope::from_file(file), None);
    }

    #[test]
    fn of_a_long_reply_the_beginning_is_kept() {
        let mut envelope = Envelope::default();
        envelope.recipients.push(Recipient {
            state: State::Failed { at: 1, why: "é".repeat(1000) },
            ..Recipient::new("a@b.test")
        });
        let read = Envelope::from_file(&envelope.to_file()).unwrap();
        let State::Failed { why, .. } = &read.recipients[0].state else { panic!() };
        assert_eq!(*why, "é".repeat(600));
    }
}

//! What the sender of a mail wants to be told of it (RFC 3461), as a client asks for it, as it has to be handed on to a
//! server that does the same, and as a notice has to say it.

use crate::message::Token;
use crate::rng::Rng;

/// The options of a mail for one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// RET: all of the mail comes back, or its header.
    full: Option<bool>,
    /// ENVID.
    envelope_id: Option<String>,
    /// NOTIFY: of success, failure, delay; of none of them is NEVER.
    notify: Option<[bool; 3]>,
    /// ORCPT: an Internet address.
    original: Option<String>,
}

impl Options {
    /// Those of a mail to an address, drawn from the mail's chances: the same for each time that the address stands there.
    pub fn draw(dice: u64, token: Token, address: &str) -> Options {
        let mut mail = Rng::fork(dice, 4);
        let full = mail.chance(30).then(|| mail.chance(50));
        let envelope_id = mail.chance(30).then(|| format!("mail{:x}", token.0));
        let part = address.bytes().fold(5, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let mut recipient = Rng::fork(dice, part);
        let notify = recipient.chance(50).then(|| {
            let never = recipient.chance(40);
            std::array::from_fn(|_| !never && recipient.chance(50))
        });
        let original = recipient.chance(30).then(|| format!("first{:x}@before.test", recipient.below(1000)));
        Options { full, envelope_id, notify, original }
    }

    /// What follows the reverse-path, each with a space before it.
    pub fn mail_words(&self) -> String {
        let full = self.full.map(|full| if full { " RET=FULL" } else { " RET=HDRS" });
        let id = self.envelope_id.as_ref().map(|id| format!(" ENVID={id}"));
        format!("{}{}", full.unwrap_or_default(), id.unwrap_or_default())
    }

    /// What follows the forward-path, each with a space before it.
    pub fn recipient_words(&self) -> String {
        let notify = self.notify.map(|wanted| {
            let words = ["SUCCESS", "FAILURE", "DELAY"].into_iter().zip(wanted);
            let words: Vec<&str> = words.filter(|(_, wanted)| *wanted).map(|(word, _)| word).collect();
            format!(" NOTIFY={}", if words.is_empty() { "NEVER".into() } else { words.join(",") })
        });
        let original = self.original.as_ref().map(|address| format!(" ORCPT=rfc822;{address}"));
        format!("{}{}", notify.unwrap_or_default(), original.unwrap_or_default())
    }

    /// Of a command's parameters, those that are options of this kind, as [`Options::mail_words`] and
    /// [`Options::recipient_words`] write them.
    pub fn among(parameters: &str) -> String {
        let is =
            |word: &&str| ["RET=", "ENVID=", "NOTIFY=", "ORCPT="].iter().any(|name| word.starts_with(name));
        parameters.split(' ').filter(is).map(|word| format!(" {word}")).collect()
    }

    /// Whether the sender wants to be told that the mail was handed to a server that says nothing of it itself.
    pub fn of_success(&self) -> bool {
        self.notify.is_some_and(|[success, ..]| success)
    }

    /// Whether the sender wants to be told that it failed.
    pub fn of_failure(&self) -> bool {
        self.notify.is_none_or(|[_, failure, _]| failure)
    }

    /// What is wrong with a notice about this recipient: `text` is all of it, `group` are its fields about the recipient.
    ///
    /// # Errors
    /// It says what the sender did not want to hear, or lacks what says what it is about.
    pub fn check(&self, token: Token, text: &str, group: &str) -> Result<(), String> {
        let has = |action: &str| group.contains(&format!("\nAction: {action}\n"));
        let wanted = match (has("relayed"), has("failed"), has("delayed")) {
            (true, false, false) => self.of_success(),
            (false, true, false) => self.of_failure(),
            (false, false, true) => self.notify.is_none_or(|[.., delay]| delay),
            _ => false,
        };
        if !wanted {
            return Err(format!("it was not asked for, with{}", self.recipient_words()));
        }
        if let Some(id) = &self.envelope_id
            && !text.contains(&format!("\nOriginal-Envelope-Id: {id}\n"))
        {
            return Err(format!("ENVID={id} is not there"));
        }
        if let Some(address) = &self.original
            && !group.contains(&format!("\nOriginal-Recipient: rfc822; {address}\n"))
        {
            return Err(format!("ORCPT of {address} is not there"));
        }
        let (head, body) = (self.full != Some(true), String::from_utf8_lossy(&token.stored()).into_owned());
        if head && body.len() > 1000 && text.contains(&body) {
            return Err("all of the mail comes back, and nobody wanted that".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(notify: Option<[bool; 3]>) -> Options {
        let (envelope_id, original) = (Some("e1".into()), Some("a@b".into()));
        Options { full: Some(false), envelope_id, notify, original }
    }

    #[test]
    fn what_is_written_is_what_is_found_among_the_parameters() {
        let never = options(Some([false; 3]));
        assert_eq!(never.mail_words(), " RET=HDRS ENVID=e1");
        assert_eq!(never.recipient_words(), " NOTIFY=NEVER ORCPT=rfc822;a@b");
        assert_eq!(
            options(Some([true, false, true])).recipient_words(),
            " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@b"
        );
        assert_eq!(Options::among(" SIZE=8 BODY=8BITMIME RET=HDRS ENVID=e1"), never.mail_words());
        assert_eq!(Options::default().mail_words() + &Options::default().recipient_words(), "");
        let drawn = |address: &str| Options::draw(7, Token(1), address);
        assert_eq!(drawn("a@b"), drawn("a@b"));
        assert!((0..50).any(|n| drawn(&format!("a{n}@b")).notify == Some([false; 3])));
    }

    #[test]
    fn a_notice_is_wanted_and_says_what_it_is_about() {
        let group =
            |action| format!("\nOriginal-Recipient: rfc822; a@b\nFinal-Recipient: x\nAction: {action}\n");
        let text = "\nOriginal-Envelope-Id: e1\n";
        let (never, default) = (options(Some([false; 3])), options(None));
        let (success, rest) = (options(Some([true, false, false])), options(Some([false, true, true])));
        for (action, fine) in [
            ("relayed", [false, false, true, false]),
            ("failed", [false, true, false, true]),
            ("delayed", [false, true, false, true]),
            ("delivered", [false; 4]),
        ] {
            let check = |options: &Options| options.check(Token(1), text, &group(action)).is_ok();
            assert_eq!([&never, &default, &success, &rest].map(check), fine, "{action}");
        }
        assert!(default.check(Token(1), "", &group("failed")).is_err());
        assert!(default.check(Token(1), text, "\nAction: failed\n").is_err());
    }
}

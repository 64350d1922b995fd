//! The base subject (RFC 5256 §2.1): what a subject is about, without `Re:`, `Fwd:`, `(fwd)` and the names of lists.
//!
//! SORT and THREAD compare base subjects, and THREAD wants to know whether a subject was that of a reply. Everybody has
//! to find the same, so this is the procedure of the RFC step by step, except that each octet is looked at only a few
//! times however the brackets nest.

use super::encoded_word;
use alloc::string::String;

/// A subject, without what answering and forwarding has added to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseSubject {
    /// What is left, as it was written.
    pub text: String,
    /// Something was taken away that says that the message is a reply or forwarded.
    pub is_reply: bool,
}

impl BaseSubject {
    /// The base of a Subject field's value, folded or not, with its encoded words.
    ///
    /// ```
    /// use postier_core::mime::base_subject::BaseSubject;
    ///
    /// let subject = BaseSubject::of(b"Re: [list] AW: =?utf-8?q?gr=C3=BC=C3=9Fe?= (fwd)");
    /// assert_eq!((subject.text.as_str(), subject.is_reply), ("AW: grüße", true));
    /// assert!(!BaseSubject::of(b"[list] news").is_reply);
    /// ```
    pub fn of(value: &[u8]) -> BaseSubject {
        let text = with_single_spaces(&encoded_word::decode(value));
        let mut stripper = Stripper { text: &text, is_reply: false };
        // Each round takes at least `[fwd:` and `]` away.
        while stripper.round() {}
        BaseSubject { text: stripper.text.into(), is_reply: stripper.is_reply }
    }
}

/// Step 1: tabs and line ends are spaces, and many spaces are one.
fn with_single_spaces(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let space = matches!(character, ' ' | '\t' | '\r' | '\n');
        if !space {
            out.push(character);
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out
}

struct Stripper<'s> {
    text: &'s str,
    is_reply: bool,
}

impl Stripper<'_> {
    /// Steps 2 to 6; whether they are to be gone through again.
    fn round(&mut self) -> bool {
        self.strip_trailers();
        self.strip_leaders();
        let inner = strip_prefix_any_case(self.text, "[fwd:").and_then(|text| text.strip_suffix(']'));
        if let Some(inner) = inner {
            self.text = inner;
            self.is_reply = true;
        }
        inner.is_some()
    }

    /// Step 2.
    fn strip_trailers(&mut self) {
        loop {
            self.text = self.text.trim_end_matches(' ');
            let Some(at) = self.text.len().checked_sub("(fwd)".len()) else { return };
            match self.text.split_at_checked(at) {
                Some((before, trailer)) if trailer.eq_ignore_ascii_case("(fwd)") => {
                    self.text = before;
                    self.is_reply = true;
                }
                Some(_) | None => return,
            }
        }
    }

    /// Steps 3 to 5. Blobs in front of a `Re:` go with it; those in front of anything else go one by one, as long as
    /// something is left.
    fn strip_leaders(&mut self) {
        loop {
            self.text = self.text.trim_start_matches(' ');
            let (mut last_blob, mut rest) = (self.text, self.text);
            while let Some(after) = strip_blob(rest) {
                (last_blob, rest) = (rest, after);
            }
            match strip_reply(rest) {
                Some(after) => {
                    self.text = after;
                    self.is_reply = true;
                }
                None => {
                    self.text = if rest.is_empty() { last_blob } else { rest };
                    return;
                }
            }
        }
    }
}

/// What follows a subj-blob, `[list] `.
fn strip_blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    let after = inner.get(end..)?.strip_prefix(']')?;
    Some(after.trim_start_matches(' '))
}

/// What follows a subj-refwd, `Re [2]:`.
fn strip_reply(text: &str) -> Option<&str> {
    let rest = strip_prefix_any_case(text, "re")
        .or_else(|| strip_prefix_any_case(text, "fwd"))
        .or_else(|| strip_prefix_any_case(text, "fw"))?;
    let rest = rest.trim_start_matches(' ');
    strip_blob(rest).unwrap_or(rest).strip_prefix(':')
}

fn strip_prefix_any_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(value: &str) -> (String, bool) {
        let BaseSubject { text, is_reply } = BaseSubject::of(value.as_bytes());
        (text, is_reply)
    }

    #[test]
    fn subjects_and_what_is_left_of_them() {
        for (value, text, is_reply) in [
            ("", "", false),
            ("  plain\t\t text \r\n  on ", "plain text on", false),
            ("Re: a", "a", true),
            ("re : RE: a", "a", true),
            ("Re[2]: a", "a", true),
            ("FW: fwd [x] : a", "a", true),
            ("reply: a", "reply: a", false),
            ("[list] a", "a", false),
            ("[list] [other] re: [list] a", "a", true),
            ("[a] [b]", "[b]", false),
            ("[a][b] c", "c", false),
            ("[only]", "[only]", false),
            ("re: [only]", "[only]", true),
            ("[un[closed] a", "[un[closed] a", false),
            ("a (fwd)", "a", true),
            ("a (FWD) (fwd)  ", "a", true),
            ("(fwd)", "", true),
            ("re:", "", true),
            ("[fwd: a]", "a", true),
            ("[Fwd: re: [fwd: [list] a (fwd)] ]", "a", true),
            ("[fwd: a] b", "b", false),
            ("[fwd: ]", "", true),
            ("a [b]", "a [b]", false),
            ("é re: a", "é re: a", false),
            ("re", "re", false),
        ] {
            assert_eq!(base(value), (text.into(), is_reply), "{value:?}");
        }
        assert_eq!(base("=?utf-8?q?Re=3A_=5Bl=5D_=C3=A9?="), ("é".into(), true));
    }

    #[test]
    fn brackets_in_great_numbers_cost_little() {
        let (blobs, nested) = ("[a]".repeat(50_000), "[fwd:".repeat(50_000) + &"]".repeat(50_000));
        assert_eq!(base(&blobs), ("[a]".into(), false));
        assert_eq!(base(&nested), (String::new(), true));
        assert!(!base(&"re [".repeat(50_000)).1);
        assert_eq!(base(&alloc::format!("x{}", "(fwd)".repeat(50_000))), ("x".into(), true));
    }
}

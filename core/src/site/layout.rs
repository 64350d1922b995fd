//! Where an account's Maildir lies: a path with `{domain}` and `{user}` in it.

use alloc::vec::Vec;
use core::ops::Range;

/// A path template such as `/var/mail/{domain}/{user}`.
///
/// ```
/// use postier_core::site::MaildirTemplate;
/// let layout = MaildirTemplate::parse(b"/var/mail/{domain}/{user}").unwrap();
/// assert_eq!(layout.expand(b"you", b"example.org"), b"/var/mail/example.org/you");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MaildirTemplate(Vec<Piece>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(Vec<u8>),
    User,
    Domain,
}

/// What is wrong with a template; the range counts octets of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TemplateError {
    /// A `{word}` that is neither `{user}` nor `{domain}`, or a brace without its other half.
    UnknownVariable(Range<usize>),
    /// No `{user}`: all accounts of a domain would share one mailbox.
    NoUser,
}

impl MaildirTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`] for a word in braces that is not known, and for a template without `{user}`.
    pub fn parse(text: &[u8]) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let plain = rest.iter().position(|&b| b == b'{' || b == b'}').unwrap_or(rest.len());
            let (before, tail) = rest.split_at(plain);
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_vec()));
            }
            at += plain;
            let (piece, length) = match tail {
                [] => break,
                _ if tail.starts_with(b"{user}") => (Piece::User, 6),
                _ if tail.starts_with(b"{domain}") => (Piece::Domain, 8),
                _ => {
                    let length = tail.iter().position(|&b| b == b'}').map_or(tail.len(), |end| end + 1);
                    return Err(TemplateError::UnknownVariable(at..at + length));
                }
            };
            pieces.push(piece);
            at += length;
        }
        if pieces.contains(&Piece::User) { Ok(Self(pieces)) } else { Err(TemplateError::NoUser) }
    }

    /// Whether accounts of different domains get different paths.
    pub fn names_domain(&self) -> bool {
        self.0.contains(&Piece::Domain)
    }

    /// The path for one account.
    pub fn expand(&self, user: &[u8], domain: &[u8]) -> Vec<u8> {
        let mut path = Vec::new();
        for piece in &self.0 {
            path.extend_from_slice(match piece {
                Piece::Text(text) => text,
                Piece::User => user,
                Piece::Domain => domain,
            });
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words_are_pointed_at() {
        assert_eq!(MaildirTemplate::parse(b"/m/{usr}/x"), Err(TemplateError::UnknownVariable(3..8)));
        assert_eq!(MaildirTemplate::parse(b"/m/{user}/{"), Err(TemplateError::UnknownVariable(10..11)));
        assert_eq!(MaildirTemplate::parse(b"/m/{user}}"), Err(TemplateError::UnknownVariable(9..10)));
        assert_eq!(MaildirTemplate::parse(b"/m/{domain}"), Err(TemplateError::NoUser));
        assert_eq!(MaildirTemplate::parse(b""), Err(TemplateError::NoUser));
    }

    #[test]
    fn expands_every_place() {
        let layout = MaildirTemplate::parse(b"{user}/{domain}/{user}/Maildir").unwrap();
        assert_eq!(layout.expand(b"a", b"b.c"), b"a/b.c/a/Maildir");
        assert!(layout.names_domain());
    }
}

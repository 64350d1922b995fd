//! What the other server offers: its reply to EHLO (RFC 5321 §4.1.1.1).

/// The extensions that matter to a client. Those not offered are false.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// PIPELINING (RFC 2920)
    pub pipelining: bool,
    /// 8BITMIME (RFC 6152)
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531)
    pub smtputf8: bool,
    /// CHUNKING (RFC 3030)
    pub chunking: bool,
    /// DSN (RFC 3461)
    pub dsn: bool,
    /// STARTTLS (RFC 3207)
    pub starttls: bool,
    /// SIZE is offered: `MAIL FROM … SIZE=` is understood (RFC 1870).
    pub size: bool,
    /// The largest message it takes, in octets, if it says so.
    pub size_max: Option<u64>,
    /// Recipients of one mail, if it says so (RFC 9422).
    pub recipients_max: Option<usize>,
    /// Mails of one connection, if it says so (RFC 9422).
    pub mails_max: Option<usize>,
    /// AUTH PLAIN
    pub auth_plain: bool,
    /// AUTH LOGIN
    pub auth_login: bool,
}

impl Peer {
    /// One line of the reply after the first, its code taken off. What is not known is passed over.
    pub(super) fn take_line(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        // `AUTH=PLAIN` is what some servers of the last century say for clients of theirs.
        let Some(keyword) = words.next() else { return };
        let is = |name: &str| keyword.eq_ignore_ascii_case(name);
        if is("PIPELINING") {
            self.pipelining = true;
        } else if is("8BITMIME") {
            self.eight_bit = true;
        } else if is("SMTPUTF8") {
            self.smtputf8 = true;
        } else if is("CHUNKING") {
            self.chunking = true;
        } else if is("DSN") {
            self.dsn = true;
        } else if is("STARTTLS") {
            self.starttls = true;
        } else if is("SIZE") {
            self.size = true;
            // RFC 1870 §4: zero, or nothing, is no fixed limit.
            self.size_max = words.next().and_then(number).filter(|max| *max > 0);
        } else if is("LIMITS") {
            for word in words {
                match word.split_once('=') {
                    Some(("RCPTMAX", value)) => self.recipients_max = count(value),
                    Some(("MAILMAX", value)) => self.mails_max = count(value),
                    _ => {}
                }
            }
        } else if is("AUTH") {
            for word in words {
                self.auth_plain |= word.eq_ignore_ascii_case("PLAIN");
                self.auth_login |= word.eq_ignore_ascii_case("LOGIN");
            }
        }
    }
}

fn number(word: &str) -> Option<u64> {
    let digits = !word.is_empty() && word.bytes().all(|octet| octet.is_ascii_digit());
    digits.then(|| word.parse().unwrap_or(u64::MAX))
}

fn count(word: &str) -> Option<usize> {
    number(word).filter(|max| *max > 0).map(|max| usize::try_from(max).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_whatever_their_case() {
        let mut peer = Peer::default();
        for line in [
            "pipelining",
            "SIZE 1000",
            "8bitmime",
            "AUTH login PLAIN XOAUTH2",
            "AUTH=LOGIN",
            "LIMITS RCPTMAX=20 MAILMAX=0 X=1",
            "",
            "X-UNKNOWN 1",
            "CHUNKING",
            "DSN",
        ] {
            peer.take_line(line);
        }
        assert!(
            peer.pipelining
                && peer.eight_bit
                && peer.auth_login
                && peer.auth_plain
                && peer.chunking
                && peer.dsn
        );
        assert!(!peer.smtputf8 && !peer.starttls);
        assert_eq!((peer.size_max, peer.recipients_max, peer.mails_max), (Some(1000), Some(20), None));
    }

    #[test]
    fn a_size_of_nothing_is_no_limit() {
        for line in ["SIZE", "SIZE 0", "SIZE x"] {
            let mut peer = Peer::default();
            peer.take_line(line);
            assert!(peer.size && peer.size_max.is_none(), "{line}");
        }
    }
}

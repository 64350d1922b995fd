//! MTA-STS (RFC 8461): a domain says by HTTPS which mail servers it has and that they are to be verified.
//!
//! A TXT record tells that there is a policy and which ([`record_id`]); the policy itself ([`Policy`]) comes from
//! `https://mta-sts.DOMAIN/.well-known/mta-sts.txt` and is kept as long as it says ([`Kept`]), so that who hides the record
//! for a while gains nothing.
//!
//! * [`book`]: the policies that are kept, and what counts for a domain right now.
//! * [`files`]: the same on disk.
//! * [`https`]: the request for a policy, and the reader of its answer.
//!
//! DANE goes before it (RFC 8461 §2). Nobody is sent reports (RFC 8460): what does not fit a policy that is being tested is
//! a line in the log.
//!
//! ```
//! use postier_core::dns::mta_sts::*;
//! assert_eq!(record_id(&[b"v=STSv1; id=20261124;".to_vec()]).as_deref(), Some("20261124"));
//! let text = b"version: STSv1\r\nmode: enforce\r\nmx: *.example.org\r\nmax_age: 604800\r\n";
//! let policy = Policy::parse(text).unwrap();
//! assert!(policy.mode == Mode::Enforce && policy.covers("mx1.example.org"));
//! ```

pub mod book;
pub mod files;
pub mod https;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::name::DomainName;
use super::{Kind, Outcome, Question, Records};

/// Octets of a policy that are read (RFC 8461 §3.3 suggests 64 KiB).
pub const POLICY_BYTES_MAX: usize = 64 * 1024;
/// Seconds a policy may be kept at most: one year (RFC 8461 §3.2).
const MAX_AGE_SECS_MAX: u64 = 31_557_600;
/// Names and patterns of one policy.
const MX_MAX: usize = 256;

/// Where a domain's record is; nothing for a name that is too long to have one.
pub fn question(domain: &DomainName) -> Option<Question> {
    Some(Question { name: domain.under("_mta-sts")?, kind: Kind::Txt })
}

/// The id that the lookup of [`question`] has found. One that fails finds nothing: nobody who can make it fail gains more
/// than who leaves the record out.
pub fn id_found(outcome: Outcome) -> Option<String> {
    match outcome.ok()?.records {
        Records::Txt(records) => record_id(&records),
        Records::A(_)
        | Records::Aaaa(_)
        | Records::Mx(_)
        | Records::Tlsa(_)
        | Records::Ptr(_)
        | Records::Cname(_) => None,
    }
}

/// The host that has a domain's policy (RFC 8461 §3.3).
pub fn policy_host(domain: &DomainName) -> Option<DomainName> {
    domain.under("mta-sts")
}

/// The `id` in the TXT records of `_mta-sts.DOMAIN`; `None` unless exactly one of them is about MTA-STS and well formed
/// (RFC 8461 §3.1).
pub fn record_id(records: &[Vec<u8>]) -> Option<String> {
    let mut about = records.iter().filter_map(|record| {
        let text = core::str::from_utf8(record).ok()?;
        let (version, rest) = text.split_once(';')?;
        (version.trim_end() == "v=STSv1").then_some(rest)
    });
    let (Some(fields), None) = (about.next(), about.next()) else { return None };
    let mut pairs = fields.split(';').filter_map(|field| field.split_once('='));
    let id = pairs.find(|(name, _)| name.trim() == "id")?.1.trim();
    let fits = (1..=32).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_alphanumeric());
    fits.then(|| id.to_string())
}

/// What becomes of mail to a server that the policy does not cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is not sent there.
    Enforce,
    /// It is sent; the domain only wants to hear of it.
    Testing,
    /// There is no policy any more.
    None,
}

/// A name, or `*.` and a name; what is neither fits no host.
fn pattern(text: &str) -> Option<String> {
    let (star, name) = text.strip_prefix("*.").map_or(("", text), |name| ("*.", name));
    DomainName::parse(name).map(|name| format!("{star}{name}"))
}

impl Mode {
    /// As it stands in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        }
    }
}

/// A domain's policy (RFC 8461 §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How strict it is.
    pub mode: Mode,
    /// For how many seconds it is good.
    pub max_age: u64,
    /// The domain's mail servers, in lower case; `*.` in front stands for one label.
    pub mx: Vec<String>,
}

impl Policy {
    /// Reads a policy; `None` if it is none. Keys that are not known are passed over, and of a key that comes twice the first
    /// counts (RFC 8461 §3.2).
    pub fn parse(octets: &[u8]) -> Option<Self> {
        if octets.len() > POLICY_BYTES_MAX {
            return None;
        }
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in core::str::from_utf8(octets).ok()?.lines().filter(|line| !line.trim().is_empty()) {
            let (key, value) = line.split_once(':')?;
            let value = value.trim();
            match key.trim() {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if mx.len() < MX_MAX => mx.extend(pattern(value)),
                _ => {}
            }
        }
        let mode = match mode? {
            "enforce" => Mode::Enforce,
            "testing" => Mode::Testing,
            "none" => Mode::None,
            _ => return None,
        };
        let digits = max_age.filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()))?;
        // More than a year, whatever it is, is a year.
        let max_age = if digits.len() > 10 { MAX_AGE_SECS_MAX } else { digits.parse().ok()? };
        let whole = version? == "STSv1" && (mode == Mode::None || !mx.is_empty());
        whole.then_some(Policy { mode, max_age: max_age.min(MAX_AGE_SECS_MAX), mx })
    }

    /// The host, in lower case, is one of the domain's (RFC 8461 §4.1).
    pub fn covers(&self, host: &str) -> bool {
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(above) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == above)
            }
            None => host == pattern,
        })
    }

    /// As [`Policy::parse`] reads it.
    pub fn to_text(&self) -> String {
        let mode = self.mode.name();
        let mut text = format!("version: STSv1\nmode: {mode}\nmax_age: {}\n", self.max_age);
        for mx in &self.mx {
            text.push_str(&format!("mx: {mx}\n"));
        }
        text
    }
}

/// A policy that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The record's id when it was fetched.
    pub id: String,
    /// When that was, in seconds since 1970.
    pub fetched: i64,
    /// It.
    pub policy: Arc<Policy>,
}

impl Kept {
    /// It is good at this time. A clock that was set back makes it no older than new.
    pub fn is_good(&self, now: i64) -> bool {
        now.saturating_sub(self.fetched) < i64::try_from(self.policy.max_age).unwrap_or(i64::MAX)
    }

    /// For a file.
    pub fn to_file(&self) -> Vec<u8> {
        format!("id: {}\nfetched: {}\n{}", self.id, self.fetched, self.policy.to_text()).into_bytes()
    }

    /// From a file; `None` if it is damaged: then the policy is fetched again.
    pub fn from_file(octets: &[u8]) -> Option<Self> {
        let policy = Policy::parse(octets)?;
        let text = core::str::from_utf8(octets).ok()?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Some(Kept {
            id: field("id")?.into(),
            fetched: field("fetched")?.parse().ok()?,
            policy: policy.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn one_record_with_an_id_is_a_record() {
        let id = |texts: &[&str]| {
            let records: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
            record_id(&records)
        };
        for (texts, expected) in [
            (&["v=STSv1; id=1;"][..], Some("1")),
            (&["v=STSv1;id=a1B2"], Some("a1B2")),
            (&["v=spf1 -all", "v=STSv1 ; ext=x; id = 7 ;"], Some("7")),
            (&["v=STSv1; id=1;", "v=STSv1; id=2;"], None),
            (&["v=STSv1"], None),
            (&["v=STSv1; id="], None),
            (&["v=STSv1; id=a-b"], None),
            (&["v=STSv1; id=123456789012345678901234567890123"], None),
            (&["v=STSv2; id=1"], None),
            (&["id=1; v=STSv1;"], None),
            (&[], None),
        ] {
            assert_eq!(id(texts).as_deref(), expected, "{texts:?}");
        }
    }

    #[test]
    fn policies_are_whole_or_none() {
        let parse = |text: &str| Policy::parse(text.as_bytes());
        let good = "version: STSv1\nmode: enforce\nmx: MX.example.org.\nmax_age: 86400\n";
        let policy = parse(good).unwrap();
        assert_eq!(
            (policy.mode, policy.max_age, policy.mx),
            (Mode::Enforce, 86_400, vec!["mx.example.org".into()])
        );
        assert!(parse("version: STSv1\nmode: none\nmax_age: 1\n").is_some());
        assert_eq!(parse(&good.replace("86400", "99999999999999999999")).unwrap().max_age, MAX_AGE_SECS_MAX);
        assert_eq!(parse(&(String::from(good) + "mode: none\nnew: x\n")).unwrap().mode, Mode::Enforce);
        for (from, to) in [
            ("version: STSv1\n", ""),
            ("STSv1", "STSv2"),
            ("mode: enforce\n", ""),
            ("enforce", "Enforce"),
            ("mx: MX.example.org.\n", ""),
            ("MX.example.org.", "*"),
            ("MX.example.org.", "mx.*.example.org"),
            ("max_age: 86400\n", ""),
            ("86400", "-1"),
            ("86400", ""),
            ("mode:", "mode"),
        ] {
            assert_eq!(parse(&good.replace(from, to)), None, "{from} {to}");
        }
        assert_eq!(parse(&(String::from(good) + &"x: y\n".repeat(20_000))), None);
        assert_eq!(Policy::parse(b"\xff"), None);
    }

    #[test]
    fn a_star_is_one_label() {
        let policy = Policy { mode: Mode::Enforce, max_age: 1, mx: vec!["*.a.test".into(), "b.test".into()] };
        for (host, covered) in [
            ("mx.a.test", true),
            ("b.test", true),
            ("a.test", false),
            ("x.mx.a.test", false),
            (".a.test", false),
            ("mx.b.test", false),
            ("mxa.test", false),
        ] {
            assert_eq!(policy.covers(host), covered, "{host}");
        }
    }

    #[test]
    fn what_is_kept_comes_back_and_grows_old() {
        let policy =
            Policy { mode: Mode::Testing, max_age: 100, mx: vec!["*.a.test".into(), "b.test".into()] };
        let kept = Kept { id: "7".into(), fetched: 1000, policy: policy.into() };
        let file = kept.to_file();
        assert_eq!(Kept::from_file(&file), Some(kept.clone()));
        assert_eq!(Kept::from_file(&file[3..]), None);
        assert!(kept.is_good(1099) && !kept.is_good(1100) && kept.is_good(0));
    }
}

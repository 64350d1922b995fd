//! The users file: one account a line, in the form of a Dovecot passwd-file.
//!
//! ```text
//! user@domain:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields
//! ```
//!
//! Only the name and the password are needed; a name without a domain belongs to the first domain. Lines that are
//! blank or begin with `#` are comments. `postier user …` writes `{ARGON2ID}` hashes and keeps the verifier for SCRAM
//! as an extra field, `postier_scram={SCRAM-SHA-256}…`, which Dovecot passes over. Every octet it has no reason
//! to change stays as it is.
//!
//! This module edits text; [`UsersFileLock`] puts it on disk.
//!
//! ```
//! use postier_host::users::UsersFile;
//! let (mut file, errors) = UsersFile::parse(b"# people\nann@example.org:{PLAIN}x\n".to_vec());
//! assert!(errors.is_empty());
//! file.add("bob@example.org", "{PLAIN}y", None);
//! let ann = file.find("Ann", "example.org", "example.org").unwrap().clone();
//! file.remove(&ann);
//! assert_eq!(file.text(), b"# people\nbob@example.org:{PLAIN}y\n");
//! ```

mod disk;

use std::ops::Range;

use postier_core::site::{BadName, Quota, ScramVerifier, check_user, fold_domain};

use crate::password::{SchemeError, StoredHash, format_scram, parse_scram};

pub use disk::UsersFileLock;

const SCRAM_FIELD: &str = "postier_scram=";
const QUOTA_FIELD: &str = "userdb_quota_rule=";
/// Name, password, uid, gid, gecos, home, shell; what follows is the extra field.
const FIELDS_BEFORE_EXTRA: usize = 7;

/// A users file in memory, with its comments and whatever else is in it.
#[derive(Clone, Default)]
pub struct UsersFile {
    text: Vec<u8>,
    users: Vec<User>,
}

/// One account's line.
#[derive(Clone)]
pub struct User {
    /// The user part as written.
    pub user: Vec<u8>,
    /// The domain as written; `None` for a bare name.
    pub domain: Option<Vec<u8>>,
    /// The password field.
    pub secret: Vec<u8>,
    /// The verifier for SCRAM.
    pub scram: Option<ScramVerifier>,
    /// What `userdb_quota_rule` says; without a limit for `*:ignore`.
    pub quota: Option<Quota>,
    /// The octets of the name.
    pub name_span: Range<usize>,
    /// The octets of the whole line, without its line end.
    pub line_span: Range<usize>,
    /// From 1.
    pub line: usize,
}

/// A line that cannot be an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserError {
    /// What is wrong.
    pub kind: UserErrorKind,
    /// From 1.
    pub line: usize,
    /// The name on that line, as far as there is one.
    pub name: String,
    /// The name of the password's scheme, with its braces, as far as there is one.
    pub scheme: String,
}

/// What can be wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserErrorKind {
    /// No colon.
    NoColon,
    /// The user part is no name for an account.
    Name(BadName),
    /// The password can never match.
    Password(SchemeError),
    /// The `postier_scram` field is damaged.
    Scram,
    /// The `userdb_quota_rule` field is not understood.
    Quota,
}

impl UsersFile {
    /// Reads a file; lines with mistakes are left out and reported.
    pub fn parse(text: Vec<u8>) -> (Self, Vec<UserError>) {
        let (mut users, mut errors) = (Vec::new(), Vec::new());
        let mut start = 0;
        for (line, octets) in (1..).zip(text.split_inclusive(|&b| b == b'\n')) {
            let content = octets.strip_suffix(b"\n").unwrap_or(octets);
            let content = content.strip_suffix(b"\r").unwrap_or(content);
            if !content.trim_ascii().is_empty() && !content.starts_with(b"#") {
                match parse_line(content, start, line) {
                    Ok(user) => users.push(user),
                    Err(kind) => errors.push(describe(kind, content, line)),
                }
            }
            start += octets.len();
        }
        (Self { text, users }, errors)
    }

    /// The accounts in the order of the file.
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// The text as it is to be on disk.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The line of `user@domain`, names compared without case; bare names are of `first_domain`.
    pub fn find(&self, user: &str, domain: &str, first_domain: &str) -> Option<&User> {
        let same = |a: &[u8], b: &str| String::from_utf8_lossy(a).to_lowercase() == b.to_lowercase();
        self.users.iter().find(|entry| {
            let entry_domain = entry.domain.as_deref().unwrap_or(first_domain.as_bytes());
            same(&entry.user, user) && fold_domain(entry_domain) == fold_domain(domain.as_bytes())
        })
    }

    /// Adds an account at the end.
    pub fn add(&mut self, address: &str, secret: &str, scram: Option<&ScramVerifier>) {
        let mut text = std::mem::take(&mut self.text);
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        let fields = vec![address.as_bytes().to_vec(), secret.as_bytes().to_vec()];
        text.extend(with_scram(fields, scram));
        text.push(b'\n');
        self.read_again(text);
    }

    /// Gives the account of this line another password; its other fields stay.
    pub fn set_password(&mut self, user: &User, secret: &str, scram: Option<&ScramVerifier>) {
        let line = self.text.get(user.line_span.clone()).unwrap_or_default();
        let mut fields: Vec<Vec<u8>> =
            line.splitn(FIELDS_BEFORE_EXTRA + 1, |&b| b == b':').map(<[u8]>::to_vec).collect();
        match fields.get_mut(1) {
            Some(field) => *field = secret.as_bytes().to_vec(),
            None => return,
        }
        let line = with_scram(fields, scram);
        let mut text = std::mem::take(&mut self.text);
        text.splice(user.line_span.clone(), line);
        self.read_again(text);
    }

    /// Takes the account of this line out, its line end included.
    pub fn remove(&mut self, user: &User) {
        let mut text = std::mem::take(&mut self.text);
        let rest = text.get(user.line_span.end..).unwrap_or_default();
        let line_end = rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |lf| lf + 1);
        text.drain(user.line_span.start..user.line_span.end + line_end);
        self.read_again(text);
    }

    fn read_again(&mut self, text: Vec<u8>) {
        (*self, _) = Self::parse(text);
    }
}

fn parse_line(line: &[u8], start: usize, number: usize) -> Result<User, UserErrorKind> {
    let mut fields = line.splitn(FIELDS_BEFORE_EXTRA + 1, |&b| b == b':');
    let (Some(name), Some(secret)) = (fields.next(), fields.next()) else {
        return Err(UserErrorKind::NoColon);
    };
    let (user, domain) = match name.iter().rposition(|&b| b == b'@') {
        Some(at) => (&name[..at], Some(name[at + 1..].to_vec())),
        None => (name, None),
    };
    check_user(user).map_err(UserErrorKind::Name)?;
    StoredHash::parse(secret).map_err(UserErrorKind::Password)?;
    let extra = fields.nth(FIELDS_BEFORE_EXTRA - 2).unwrap_or_default();
    let field =
        |name: &str| extra.split(|&b| b == b' ').find_map(|field| field.strip_prefix(name.as_bytes()));
    let quota = match field(QUOTA_FIELD) {
        None => None,
        Some(rule) => Some(std::str::from_utf8(rule).ok().and_then(quota_rule).ok_or(UserErrorKind::Quota)?),
    };
    let scram = match field(SCRAM_FIELD) {
        None => None,
        Some(verifier) => {
            let text = std::str::from_utf8(verifier).map_err(|_| UserErrorKind::Scram)?;
            Some(parse_scram(text).map_err(|_| UserErrorKind::Scram)?)
        }
    };
    Ok(User {
        user: user.to_vec(),
        domain,
        secret: secret.to_vec(),
        scram,
        quota,
        name_span: start..start + name.len(),
        line_span: start..start + line.len(),
        line: number,
    })
}

/// Dovecot's `*:storage=1G:messages=10000`; `storage` counts in KiB without a unit, `bytes` in octets, 0 is no limit.
fn quota_rule(rule: &str) -> Option<Quota> {
    let mut quota = Quota::default();
    for limit in rule.strip_prefix("*:")?.split(':') {
        if limit == "ignore" {
            return Some(Quota::default());
        }
        let (name, number) = limit.split_once('=')?;
        let number = match name {
            "storage" => octets(number, 1024)?,
            "bytes" => octets(number, 1)?,
            "messages" => number.parse().ok()?,
            _ => return None,
        };
        let limit = Some(number).filter(|&number| number > 0);
        if name == "messages" { quota.messages = limit } else { quota.bytes = limit }
    }
    Some(quota)
}

/// A number with a unit of B, k, M, G or T behind it, or of `unit` octets.
fn octets(text: &str, unit: u64) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..)? {
        "" => unit,
        "B" | "b" => 1,
        "k" | "K" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        "T" | "t" => 1 << 40,
        _ => return None,
    };
    // `parse` would take a sign.
    let digits = Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn describe(kind: UserErrorKind, line: &[u8], number: usize) -> UserError {
    let mut fields = line.split(|&b| b == b':');
    let (name, secret) = (fields.next().unwrap_or_default(), fields.next());
    // Without a colon the whole line may be a password.
    let name = if secret.is_some() { String::from_utf8_lossy(name).into_owned() } else { String::new() };
    let secret = secret.unwrap_or_default();
    let scheme = match secret.iter().position(|&b| b == b'}') {
        Some(end) if secret.starts_with(b"{") => String::from_utf8_lossy(&secret[..=end]).into_owned(),
        Some(_) | None => String::new(),
    };
    UserError { kind, line: number, name, scheme }
}

/// The line with the verifier as its extra field's last word, any older one gone.
fn with_scram(mut fields: Vec<Vec<u8>>, scram: Option<&ScramVerifier>) -> Vec<u8> {
    if scram.is_some() {
        fields.resize(fields.len().max(FIELDS_BEFORE_EXTRA + 1), Vec::new());
    }
    if let Some(extra) = fields.get_mut(FIELDS_BEFORE_EXTRA) {
        let kept = extra.split(|&b| b == b' ').filter(|word| !word.starts_with(SCRAM_FIELD.as_bytes()));
        let mut words: Vec<Vec<u8>> = kept.map(<[u8]>::to_vec).collect();
        words.extend(scram.map(|scram| format!("{SCRAM_FIELD}{}", format_scram(scram)).into_bytes()));
        words.retain(|word| !word.is_empty());
        *extra = words.join(&b' ');
    }
    fields.join(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "# accounts\n\nann@one.example:{PLAIN}a\nbob:{SHA256-CRYPT}$5$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC:1000:1000:Bob B:/home/bob::userdb_quota_rule=*:bytes=1G x=y\r\n  \n#end";

    fn parse(text: &str) -> UsersFile {
        let (file, errors) = UsersFile::parse(text.as_bytes().to_vec());
        assert_eq!(errors, []);
        file
    }

    fn scram() -> ScramVerifier {
        ScramVerifier { iterations: 4096, salt: b"salt".to_vec(), stored_key: [1; 32], server_key: [2; 32] }
    }

    #[test]
    fn passwd_file_lines_are_read() {
        let file = parse(FILE);
        let [ann, bob] = file.users() else { panic!("two users") };
        assert_eq!(
            (&ann.user[..], ann.domain.as_deref(), ann.line),
            (&b"ann"[..], Some(&b"one.example"[..]), 3)
        );
        assert_eq!((&bob.user[..], bob.domain.as_deref()), (&b"bob"[..], None));
        assert_eq!(&FILE[ann.name_span.clone()], "ann@one.example");
        assert!(file.find("BOB", "One.example", "one.example").is_some());
        assert!(file.find("bob", "two.example", "one.example").is_none());
        let (file, _) = UsersFile::parse("ann@bücher.example:{PLAIN}a\n".into());
        assert!(file.find("ann", "XN--bcher-kva.example", "one.example").is_some());
    }

    #[test]
    fn a_new_password_leaves_the_other_fields() {
        let mut file = parse(FILE);
        let bob = file.users()[1].clone();
        file.set_password(&bob, "{PLAIN}new", Some(&scram()));
        let expected = FILE
            .replace("{SHA256-CRYPT}$5$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC", "{PLAIN}new");
        let field = format!(" {SCRAM_FIELD}{}\r\n", format_scram(&scram()));
        assert_eq!(String::from_utf8_lossy(file.text()), expected.replace("\r\n", &field));
        assert_eq!(file.users()[1].scram, Some(scram()));
        let bob = file.users()[1].clone();
        file.set_password(&bob, "{PLAIN}new", None);
        assert_eq!(String::from_utf8_lossy(file.text()), expected);
    }

    #[test]
    fn quota_rules_are_read_as_dovecot_reads_them() {
        let quota = |bytes, messages| Some(Quota { bytes, messages });
        for (rule, read) in [
            ("*:storage=1G", quota(Some(1 << 30), None)),
            ("*:storage=10", quota(Some(10_240), None)),
            ("*:bytes=10:messages=7", quota(Some(10), Some(7))),
            ("*:bytes=2M:storage=0", quota(None, None)),
            ("*:ignore", quota(None, None)),
            ("*:storage=50%", None),
            ("*:storage=+1M", None),
            ("*:storage=99999999T", None),
            ("*:", None),
            ("Trash:storage=1G", None),
            ("", None),
        ] {
            assert_eq!(quota_rule(rule), read, "{rule}");
        }
        let bob = &parse(FILE).users()[1].clone();
        assert_eq!(bob.quota, quota(Some(1 << 30), None));
    }

    #[test]
    fn adding_and_removing_touch_one_line() {
        let mut file = parse(FILE);
        file.add("eve@two.example", "{PLAIN}e", None);
        assert_eq!(file.text(), format!("{FILE}\neve@two.example:{{PLAIN}}e\n").as_bytes());
        file.add("dan@two.example", "{PLAIN}d", Some(&scram()));
        let dan = file.find("dan", "two.example", "one.example").unwrap().clone();
        assert_eq!(dan.scram, Some(scram()));
        file.remove(&dan);
        let eve = file.find("eve", "two.example", "one.example").unwrap().clone();
        file.remove(&eve);
        assert_eq!(file.text(), format!("{FILE}\n").as_bytes());
    }

    #[test]
    fn mistakes_are_reported_without_their_secret() {
        let (file, errors) = UsersFile::parse(
            b"hunter2\na/b:{PLAIN}x\nc:{CRAM-MD5}abc\nd:::::::postier_scram=x\ne:{PLAIN}y\n".to_vec(),
        );
        assert_eq!(file.users().len(), 1);
        let show: Vec<_> = errors.iter().map(|e| (e.line, e.name.as_str(), e.scheme.as_str())).collect();
        assert_eq!(show, [(1, "", ""), (2, "a/b", "{PLAIN}"), (3, "c", "{CRAM-MD5}"), (4, "d", "")]);
        assert_eq!(errors[0].kind, UserErrorKind::NoColon);
        assert_eq!(errors[1].kind, UserErrorKind::Name(BadName::Octet(b'/')));
        assert_eq!(errors[2].kind, UserErrorKind::Password(SchemeError::Unknown("CRAM-MD5".into())));
        assert_eq!(errors[3].kind, UserErrorKind::Scram);
    }

    proptest! {
        #[test]
        fn what_is_not_ours_stays(lines in proptest::collection::vec("(#[ -~]{0,20}|[a-z]{1,5}[0-9]{0,3}:\\{PLAIN\\}[a-z]{1,5}(:[a-z0-9]{0,4}){0,8}|)", 0..8)) {
            let text = lines.join("\n");
            let mut file = parse(&text);
            let terminated = if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" };
            file.add("new.user@d.example", "{PLAIN}first", None);
            let user = file.find("new.user", "d.example", "x").unwrap().clone();
            file.set_password(&user, "{PLAIN}second", Some(&scram()));
            let user = file.find("new.user", "d.example", "x").unwrap().clone();
            prop_assert_eq!(&user.secret, b"{PLAIN}second");
            prop_assert_eq!(user.scram.clone(), Some(scram()));
            file.remove(&user);
            prop_assert_eq!(String::from_utf8_lossy(file.text()), terminated);
        }

        #[test]
        fn any_octets_are_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            UsersFile::parse(text);
        }
    }
}

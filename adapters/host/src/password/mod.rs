//! Password checks: every scheme a Dovecot passwd-file may hold, and a memory of recent successes.
//!
//! A check is slow on purpose (33 ms for argon2id), so it belongs on a worker thread. Mail clients open many
//! connections with one password: each success is remembered as a keyed hash of account, stored hash and password
//! (the key is random and dies with the process), and the same login costs microseconds afterwards. A changed
//! stored hash makes the memory of the old password unreachable. Failures are never remembered, and an unknown user
//! costs what a wrong password costs: each name that nobody has is compared with a hash of one of the accounts, the same
//! one each time, so that where accounts have hashes of several schemes unknown names seem to have them as well.
//!
//! ```
//! use postier_core::site::{Account, Secret};
//! use postier_host::password::{PasswordChecker, hash_password};
//! let secret = Secret::new(hash_password(b"open sesame"));
//! let you = Account::new(b"you", b"example.org", b"/var/mail/you".to_vec(), secret).unwrap();
//! let checker = PasswordChecker::new();
//! assert!(checker.check(b"you@example.org", Some(&you), b"open sesame"));
//! assert!(!checker.check(b"you@example.org", Some(&you), b"close sesame"));
//! assert!(!checker.check(b"me@example.org", None, b"open sesame"));
//! ```

mod argon;
mod scheme;
mod scram;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::{hmac, rand};
use postier_core::site::{Account, Site};

pub use scheme::{SchemeError, StoredHash};
pub use scram::{SCRAM_ITERATIONS, ScramFormatError, format_scram, load_scram_key, make_scram, parse_scram};

/// Octets a password may have; longer ones are wrong without being looked at.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Successes remembered, 100 octets each.
const RECENT_MAX: usize = 8192;

/// Hashes a new password for the users file: `{ARGON2ID}$argon2id$…` with the parameters OWASP recommends
/// (19 MiB, two passes, one lane).
pub fn hash_password(password: &[u8]) -> String {
    argon::hash_new(password)
}

/// A password for a person to copy: 20 letters and digits in groups of five, about 99 bits.
/// Letters that look like digits are left out.
pub fn generate_password() -> String {
    const LETTERS: &[u8; 31] = b"abcdefghijkmnopqrstuvwxyz234567";
    let mut out = String::new();
    while out.len() < 23 {
        let mut octet = [0];
        rand::fill(&mut octet).expect("the kernel's random source has no failure once the system is up");
        // 248 = 8 × 31: what is above would make the first letters likelier.
        if octet[0] >= 248 {
            continue;
        }
        if out.len() % 6 == 5 {
            out.push('-');
        }
        out.push(char::from(LETTERS[usize::from(octet[0]) % LETTERS.len()]));
    }
    out
}

/// Checks passwords; shared by all worker threads.
pub struct PasswordChecker {
    key: hmac::Key,
    recent: Mutex<Recent>,
    decoys: RwLock<Arc<Decoys>>,
}

/// What the passwords of unknown users are compared with.
struct Decoys {
    /// Decides which name has which; it stays the same when the server starts again, and nobody outside knows it.
    key: hmac::Key,
    /// One hash of each cost, and how many accounts have one of that cost; never empty.
    hashes: Vec<(u64, StoredHash)>,
}

#[derive(Default)]
struct Recent {
    tags: HashSet<[u8; 32]>,
    /// Oldest first.
    order: VecDeque<[u8; 32]>,
}

impl PasswordChecker {
    /// A checker that remembers nothing yet.
    pub fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .expect("the kernel's random source has no failure once the system is up");
        Self { key, recent: Mutex::default(), decoys: RwLock::new(Arc::new(Decoys::default())) }
    }

    /// Makes unknown users cost what this site's accounts cost. To be called with each new site.
    pub fn imitate(&self, site: &Site) {
        let secrets = site.accounts().map(|(_, account)| account.secret.expose());
        *self.decoys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Decoys::of(secrets));
    }

    /// Whether `password` is the account's. Without an account the answer is no, after the time that one of this
    /// `name` would have taken. Blocks for as long as the account's scheme takes.
    pub fn check(&self, name: &[u8], account: Option<&Account>, password: &[u8]) -> bool {
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX || password.contains(&0) {
            return false;
        }
        let Some(account) = account else { return self.check_decoy(name, password) };
        let tag = self.tag(account, password);
        if self.recent().tags.contains(&tag) {
            return true;
        }
        let stored = match StoredHash::parse(account.secret.expose()) {
            Ok(stored) if !stored.is_locked() => stored,
            Ok(_) | Err(_) => return self.check_decoy(name, password),
        };
        if !stored.verify(password) {
            return false;
        }
        self.recent().remember(tag);
        true
    }

    fn check_decoy(&self, name: &[u8], password: &[u8]) -> bool {
        let decoys = Arc::clone(&self.decoys.read().unwrap_or_else(PoisonError::into_inner));
        std::hint::black_box(decoys.of_name(name).verify(password));
        false
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tag(&self, account: &Account, password: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [account.address.as_slice(), account.secret.expose(), password] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().expect("SHA-256 gives 32 octets")
    }
}

impl Default for Decoys {
    fn default() -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, b""), hashes: vec![(1, argon::decoy())] }
    }
}

impl Decoys {
    /// In the likeness of these secrets; where none can be matched, in that of those we make.
    fn of<'s>(secrets: impl Iterator<Item = &'s [u8]>) -> Self {
        let (mut first, mut by_cost) = (None, BTreeMap::new());
        for secret in secrets {
            let Some((hash, cost)) =
                StoredHash::parse(secret).ok().and_then(|hash| hash.cost().map(|cost| (hash, cost)))
            else {
                continue;
            };
            first.get_or_insert(secret);
            by_cost.entry(cost).or_insert((0, hash)).0 += 1;
        }
        let Some(first) = first else { return Self::default() };
        let key = hmac::Key::new(hmac::HMAC_SHA256, first);
        Self { key, hashes: by_cost.into_values().collect() }
    }

    /// The hash of a name that nobody has: each cost as often among names as among accounts.
    fn of_name(&self, name: &[u8]) -> &StoredHash {
        let tag = hmac::sign(&self.key, name);
        let (first, _) = tag.as_ref().split_first_chunk().expect("SHA-256 gives 32 octets");
        let total: u64 = self.hashes.iter().map(|(count, _)| count).sum();
        let mut left = u64::from_be_bytes(*first) % total.max(1);
        for (count, hash) in &self.hashes {
            match left.checked_sub(*count) {
                Some(rest) => left = rest,
                None => return hash,
            }
        }
        unreachable!("the number is below the sum of all counts")
    }
}

impl Default for PasswordChecker {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for PasswordChecker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordChecker")
    }
}

impl Recent {
    fn remember(&mut self, tag: [u8; 32]) {
        if !self.tags.insert(tag) {
            return;
        }
        self.order.push_back(tag);
        if self.order.len() > RECENT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.tags.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postier_core::site::Secret;

    fn account(secret: &str) -> Account {
        Account::new(b"you", b"example.org", Vec::new(), Secret::new(secret)).unwrap()
    }

    #[test]
    fn a_success_is_remembered_until_the_hash_changes() {
        let checker = PasswordChecker::new();
        let you = account(&hash_password(b"open sesame"));
        assert!(!checker.check(b"you@example.org", Some(&you), b"open"));
        assert!(checker.recent().tags.is_empty());
        assert!(checker.check(b"you@example.org", Some(&you), b"open sesame"));
        assert_eq!(checker.recent().tags.len(), 1);
        assert!(checker.check(b"you@example.org", Some(&you), b"open sesame"));
        assert!(!checker.check(b"you@example.org", Some(&account(&hash_password(b"new"))), b"open sesame"));
    }

    #[test]
    fn nobody_locked_and_empty_never_pass() {
        let checker = PasswordChecker::new();
        assert!(!checker.check(b"me@example.org", None, b"x"));
        for secret in ["", "!", "*", "{NONSENSE}x", "{PLAIN}"] {
            assert!(!checker.check(b"you@example.org", Some(&account(secret)), b""), "{secret}");
            assert!(!checker.check(b"you@example.org", Some(&account(secret)), b"x"), "{secret}");
        }
        assert!(!checker.check(b"you@example.org", Some(&account("{PLAIN}a")), b"a\0"));
    }

    #[test]
    fn unknown_names_cost_what_accounts_cost_and_each_always_the_same() {
        let argon = hash_password(b"x");
        let secrets = ["!", "{PLAIN}a", &argon, "{PLAIN}b", "{NONSENSE}c", "{PLAIN}d", "{SSHA}bad"];
        let decoys = || Decoys::of(secrets.iter().map(|secret| secret.as_bytes()));
        let counts =
            decoys().hashes.iter().map(|(count, hash)| (hash.cost().unwrap(), *count)).collect::<Vec<_>>();
        assert_eq!(counts, [("argon2id m=19456,t=2,p=1".into(), 1), ("plain".into(), 3)]);
        let (one, other) = (decoys(), decoys());
        let mut plain = 0;
        for number in 0..1000 {
            let name = format!("name{number}@example.org");
            let cost = one.of_name(name.as_bytes()).cost();
            assert_eq!(cost, other.of_name(name.as_bytes()).cost(), "after another start");
            plain += usize::from(cost.as_deref() == Some("plain"));
        }
        assert!((650..850).contains(&plain), "{plain} of 1000 where 3 of 4 accounts are");
        assert_eq!(Decoys::of([&b"!"[..]].into_iter()).of_name(b"x").cost(), argon::decoy().cost());
    }

    #[test]
    fn costs_are_schemes_with_their_parameters() {
        let cost = |secret: &str| StoredHash::parse(secret.as_bytes()).unwrap().cost();
        let sha = "$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC";
        assert_eq!(cost(&format!("{{SHA256-CRYPT}}$5{sha}")).as_deref(), Some("$5"));
        let rounds = format!("$5$rounds=10000{sha}");
        assert_eq!(cost(&rounds).as_deref(), Some("$5$rounds=10000"));
        assert_eq!(cost("{PLAIN}a"), cost("{PLAIN}much longer"));
        assert_eq!(cost("!"), None);
    }

    #[test]
    fn memory_of_successes_is_bounded() {
        let mut recent = Recent::default();
        for i in 0..RECENT_MAX + 10 {
            let mut tag = [0; 32];
            tag[..8].copy_from_slice(&i.to_be_bytes());
            recent.remember(tag);
            recent.remember(tag);
        }
        assert_eq!((recent.tags.len(), recent.order.len()), (RECENT_MAX, RECENT_MAX));
    }

    #[test]
    fn generated_passwords_differ_and_can_be_typed() {
        let (a, b) = (generate_password(), generate_password());
        assert_ne!(a, b);
        assert_eq!(a.len(), 23, "{a}");
        assert!(a.bytes().all(|b| b == b'-' || b.is_ascii_lowercase() || b.is_ascii_digit()), "{a}");
    }
}

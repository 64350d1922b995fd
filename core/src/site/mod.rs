//! What addresses mean here: domains, accounts, aliases, limits. Pure and immutable.
//!
//! The host builds a [`Site`] from its configuration and shares it as an `Arc`; a reload builds another, and a
//! transaction keeps the one it began with. A name is looked up in this order, in lower case throughout:
//!
//! 1. an alias of exactly this address;
//! 2. an account of exactly this address;
//! 3. an alias written without a domain. It belongs to the first domain, where step 1 has found it,
//!    and stands in for the other domains where they have neither alias nor account of that name;
//! 4. `user+tag` is asked again as `user`;
//! 5. `postmaster` of a further domain is the postmaster of the first (RFC 5321 §4.5.1);
//! 6. the catch-all alias `@domain`.
//!
//! A domain in Unicode and the same in A-labels (`xn--…`, RFC 5890) are one domain, whichever of them is configured.
//!
//! A target without a domain is a name of the first domain. An alias that names itself means the account of that
//! name (`you: you, friend`). Local parts with `%`, `!`, `@` or `:` are relaying in disguise: unless exactly such
//! a name exists they are not local, and no tag and no catch-all makes them so.

mod account;
mod aliases;
mod build;
mod layout;
mod network;
mod quota;
mod sending;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::auth::scram::ScramKey;
use crate::dkim;
use crate::dns::name::DomainName;
use crate::imap::server::Mask;
use crate::limits::Limits;

pub use account::{Account, AccountId, BadName, ScramVerifier, Secret, check_user};
pub use aliases::{Aliases, AliasesError, AliasesErrorKind};
pub use build::{SiteError, SiteNote, SiteParts};
pub use layout::{MaildirTemplate, TemplateError};
pub use network::{Network, NetworkError};
pub use quota::{Quota, Room, Usage};
pub use sending::{Relay, Sending, TlsPolicy, Way};

/// Where a password may be sent without TLS.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LoginWithoutTls {
    /// Nowhere.
    #[default]
    Never,
    /// Over connections from and to a loopback address.
    Loopback,
}

/// What port 25 does with mail that holds LF without CR.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum BareNewline {
    /// A bare LF becomes a line end.
    #[default]
    Accept,
    /// The mail is refused after its real end.
    Refuse,
}

/// The answer to "whose is this recipient?".
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// These accounts' mailboxes, at least one, each once, in the order the aliases name them.
    Local(Vec<AccountId>),
    /// An alias leads elsewhere, to these addresses, and perhaps to accounts of ours too.
    Forwarded {
        /// As those of `Local`; may be empty.
        accounts: Vec<AccountId>,
        /// At least one, each once, in the order the aliases name them.
        remote: Vec<Arc<str>>,
    },
    /// The domain is ours, the name is nobody's.
    NoSuchUser,
    /// Not ours: accepting it would be relaying.
    NotLocal,
}

/// Domains, accounts and aliases of one post office, with their limits.
///
/// ```
/// use postier_core::site::*;
/// let you = Account::new(b"You", b"example.org", b"/var/mail/you".to_vec(), Secret::new("{PLAIN}x")).unwrap();
/// let (aliases, _) = Aliases::parse(b"postmaster: you\n");
/// let parts = SiteParts { accounts: vec![you], aliases, ..SiteParts::new("mail.example.org", ["example.org"]) };
/// let (site, notes) = Site::build(parts).unwrap();
/// let you = site.account_by_login(b"YOU@Example.Org").unwrap();
/// assert_eq!(site.resolve_recipient(b"Postmaster", None), Resolution::Local(vec![you]));
/// assert!(site.may_send_as(you, b"you+shop", b"example.org"));
/// assert!(notes.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Site {
    hostname: String,
    domains: Vec<Vec<u8>>,
    /// These three have domains as [`fold_domain`] has them.
    first_domain: Vec<u8>,
    domain_set: BTreeSet<Vec<u8>>,
    accounts: Vec<Arc<Account>>,
    /// By `user@domain`.
    accounts_by_address: BTreeMap<Vec<u8>, AccountId>,
    aliases: Vec<Vec<Goal>>,
    /// Addresses elsewhere that aliases lead to.
    remotes: Vec<Arc<str>>,
    /// By `user@domain` or `@domain`.
    aliases_by_address: BTreeMap<Vec<u8>, AliasKey>,
    /// Limits for sessions and connections.
    pub limits: Limits,
    /// Where a password may be sent without TLS.
    pub login_without_tls: LoginWithoutTls,
    /// What port 25 does with bare LF.
    pub bare_newline: BareNewline,
    /// Which IMAP capabilities are hidden from whom.
    pub imap_masks: Arc<[Mask]>,
    /// How mail for other servers is sent; without it none is.
    pub sending: Option<Arc<Sending>>,
    /// What verifiers of nobody are made from.
    pub scram_key: ScramKey,
    /// What mail that leaves is signed with.
    pub dkim_keys: Arc<dkim::Keys>,
}

/// Where an alias leads, its name already looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Goal {
    Account(AccountId),
    Alias(usize),
    Remote(usize),
}

#[derive(Clone, Copy, Debug)]
struct AliasKey {
    index: usize,
    /// Written without a domain: stands in for further domains.
    bare: bool,
}

impl Site {
    /// The name this host gives itself in greetings and Received fields.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// The domains mail is received for, in lower case; the first is the one names without a domain belong to.
    pub fn domains(&self) -> impl Iterator<Item = &[u8]> {
        self.domains.iter().map(Vec::as_slice)
    }

    /// All accounts, in the order of the users file.
    pub fn accounts(&self) -> impl Iterator<Item = (AccountId, &Arc<Account>)> {
        (0..).map(AccountId).zip(&self.accounts)
    }

    /// One account; `None` for an id of another site that is too large for this one.
    pub fn account(&self, id: AccountId) -> Option<&Arc<Account>> {
        self.accounts.get(usize::try_from(id.0).ok()?)
    }

    /// How many aliases are defined.
    pub fn alias_count(&self) -> usize {
        self.aliases.len()
    }

    /// The addresses elsewhere that aliases lead to, each once, in the order of the alphabet.
    pub fn forwards(&self) -> BTreeSet<&str> {
        self.remotes.iter().map(|address| &**address).collect()
    }

    /// Whether mail for `domain` is ours. An address literal never is.
    pub fn is_local_domain(&self, domain: &[u8]) -> bool {
        self.domain_set.contains(&fold_domain(domain))
    }

    /// The account that logs in as `login`: its full address, or its user part in the first domain.
    pub fn account_by_login(&self, login: &[u8]) -> Option<AccountId> {
        self.accounts_by_address.get(&self.address_of_login(login)).copied()
    }

    /// The address a login means, whether there is such an account or not.
    pub fn address_of_login(&self, login: &[u8]) -> Vec<u8> {
        match login.iter().rposition(|&b| b == b'@') {
            Some(at) => {
                let (user, domain) = login.split_at(at);
                join(&fold(user), &fold_domain(domain.get(1..).unwrap_or_default()))
            }
            None => join(&fold(login), self.first_domain()),
        }
    }

    /// Whether SCRAM is offered: somebody has a verifier for it, and nobody who may log in has none. A client
    /// takes the strongest mechanism it is shown.
    pub fn offers_scram(&self) -> bool {
        let mut who = self.accounts.iter().filter(|account| !account.secret.is_locked()).peekable();
        who.peek().is_some() && who.all(|account| account.scram.is_some())
    }

    /// What SCRAM needs for a login; made up for one that is nobody's, or nobody's who may log in.
    pub fn scram_verifier(&self, login: &[u8]) -> ScramVerifier {
        let has =
            |account: &Arc<Account>| (!account.secret.is_locked()).then(|| account.scram.clone()).flatten();
        let (iterations, salt_bytes) =
            self.accounts.iter().find_map(has).map_or((4096, 16), |like| (like.iterations, like.salt.len()));
        let made_up = self.scram_key.made_up(&self.address_of_login(login), iterations, salt_bytes);
        let account = self.account_by_login(login).and_then(|id| self.account(id));
        account.and_then(has).unwrap_or(made_up)
    }

    /// Whose mail for `local@domain` is. `local` is without its quotes; without a domain it is a name
    /// of the first one. Costs one walk over the aliases it leads through.
    pub fn resolve_recipient(&self, local: &[u8], domain: Option<&[u8]>) -> Resolution {
        let domain = domain.map_or_else(|| self.first_domain().to_vec(), fold_domain);
        if !self.domain_set.contains(&domain) {
            return Resolution::NotLocal;
        }
        let local = fold(local);
        match self.look_up(&local, &domain) {
            Some(goal) => match self.expand(goal) {
                (accounts, remote) if !remote.is_empty() => Resolution::Forwarded { accounts, remote },
                (accounts, _) if accounts.is_empty() => Resolution::NoSuchUser,
                (accounts, _) => Resolution::Local(accounts),
            },
            None if is_disguise(&local) => Resolution::NotLocal,
            None => Resolution::NoSuchUser,
        }
    }

    /// Whether `account` may send as `local@domain`: its own address, that with a tag,
    /// and every address whose mail it receives.
    pub fn may_send_as(&self, account: AccountId, local: &[u8], domain: &[u8]) -> bool {
        let Some(owner) = self.account(account) else { return false };
        let (name, folded_domain) = (fold(local), fold_domain(domain));
        let name = if is_disguise(&name) { &name } else { without_tag(&name).unwrap_or(&name) };
        if *name == *owner.user && folded_domain == fold_domain(&owner.domain) {
            return true;
        }
        match self.resolve_recipient(local, Some(domain)) {
            Resolution::Local(accounts) | Resolution::Forwarded { accounts, .. } => {
                accounts.contains(&account)
            }
            Resolution::NoSuchUser | Resolution::NotLocal => false,
        }
    }

    /// The first domain, as domains are looked up.
    fn first_domain(&self) -> &[u8] {
        &self.first_domain
    }

    /// The look-up of the module's first page, on folded names in a domain that is ours.
    fn look_up(&self, local: &[u8], domain: &[u8]) -> Option<Goal> {
        if let Some(goal) = self.look_up_exact(local, domain) {
            return Some(goal);
        }
        if is_disguise(local) {
            return None;
        }
        if let Some(user) = without_tag(local)
            && let Some(goal) = self.look_up_exact(user, domain)
        {
            return Some(goal);
        }
        if local == b"postmaster"
            && let Some(goal) = self.look_up_exact(local, self.first_domain())
        {
            return Some(goal);
        }
        self.aliases_by_address.get(&join(b"", domain)).map(|key| Goal::Alias(key.index))
    }

    fn look_up_exact(&self, local: &[u8], domain: &[u8]) -> Option<Goal> {
        if local.is_empty() {
            return None;
        }
        let address = join(local, domain);
        if let Some(key) = self.aliases_by_address.get(&address) {
            return Some(Goal::Alias(key.index));
        }
        if let Some(&id) = self.accounts_by_address.get(&address) {
            return Some(Goal::Account(id));
        }
        let stand_in = self.aliases_by_address.get(&join(local, self.first_domain()))?;
        stand_in.bare.then_some(Goal::Alias(stand_in.index))
    }

    /// The accounts behind a goal, each once, and the addresses elsewhere. Aliases have no loops, and each is entered once.
    fn expand(&self, goal: Goal) -> (Vec<AccountId>, Vec<Arc<str>>) {
        let alias = match goal {
            Goal::Account(id) => return ([id].to_vec(), Vec::new()),
            // Only an alias leads elsewhere, and it is entered first.
            Goal::Remote(_) => return (Vec::new(), Vec::new()),
            Goal::Alias(alias) => alias,
        };
        let (mut accounts, mut taken, mut entered) = (Vec::new(), BTreeSet::new(), BTreeSet::from([alias]));
        let (mut remote, mut sent) = (Vec::new(), BTreeSet::new());
        // Goals still to visit, the next one last.
        let mut waiting: Vec<Goal> = self.goals(alias).rev().collect();
        while let Some(goal) = waiting.pop() {
            match goal {
                Goal::Account(id) if taken.insert(id) => accounts.push(id),
                Goal::Alias(alias) if entered.insert(alias) => waiting.extend(self.goals(alias).rev()),
                Goal::Remote(index) => {
                    if let Some(address) = self.remotes.get(index)
                        && sent.insert(address.clone())
                    {
                        remote.push(address.clone());
                    }
                }
                Goal::Account(_) | Goal::Alias(_) => {}
            }
        }
        (accounts, remote)
    }

    fn goals(&self, alias: usize) -> impl DoubleEndedIterator<Item = Goal> {
        self.aliases.get(alias).map_or(&[][..], Vec::as_slice).iter().copied()
    }
}

/// Whether a local part asks for relaying: the percent hack, a bang path, a source route, an address in quotes.
fn is_disguise(local: &[u8]) -> bool {
    local.iter().any(|b| b"%!@:".contains(b))
}

/// `user` of `user+tag`, where there is a tag and a user.
fn without_tag(local: &[u8]) -> Option<&[u8]> {
    let plus = local.iter().position(|&b| b == b'+').filter(|&plus| plus > 0)?;
    local.get(..plus)
}

/// Lower case: of Unicode where the name is UTF-8 (RFC 6531), else of ASCII.
fn fold(name: &[u8]) -> Vec<u8> {
    match core::str::from_utf8(name) {
        Ok(text) if !text.is_ascii() => text.to_lowercase().into_bytes(),
        Ok(_) | Err(_) => name.to_ascii_lowercase(),
    }
}

/// The form in which domains are compared: A-labels in lower case (RFC 5891 §5.4); what cannot be a domain of the DNS
/// is only brought to lower case.
///
/// ```
/// use postier_core::site::fold_domain;
/// assert_eq!(fold_domain("BÜCHER.example".as_bytes()), b"xn--bcher-kva.example");
/// assert_eq!(fold_domain(b"XN--Bcher-KVA.Example"), b"xn--bcher-kva.example");
/// assert_eq!(fold_domain(b"[192.0.2.1]"), b"[192.0.2.1]");
/// ```
pub fn fold_domain(domain: &[u8]) -> Vec<u8> {
    match core::str::from_utf8(domain) {
        Ok(text) if !text.is_ascii() => match DomainName::parse(text) {
            Some(name) => name.as_str().as_bytes().to_vec(),
            None => fold(domain),
        },
        Ok(_) | Err(_) => domain.to_ascii_lowercase(),
    }
}

fn join(local: &[u8], domain: &[u8]) -> Vec<u8> {
    [local, b"@", domain].concat()
}

#[cfg(test)]
mod tests;

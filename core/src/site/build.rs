//! Building a [`Site`]: every alias is looked up once, loops and foreign addresses are found, and the postmaster
//! must be somebody. All mistakes are reported together.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::auth::scram::ScramKey;
use crate::dkim;
use crate::imap::server::Mask;
use crate::limits::Limits;

use super::aliases::{Name, Target};
use super::{
    Account, AccountId, AliasKey, Aliases, BareNewline, Goal, LoginWithoutTls, Sending, Site, fold,
    fold_domain, join,
};
use crate::smtp::address::Mailbox;

/// Everything a [`Site`] is made of.
#[derive(Clone, Debug)]
pub struct SiteParts {
    /// The name this host gives itself.
    pub hostname: String,
    /// The domains mail is received for; the first is the one bare names belong to.
    pub domains: Vec<Vec<u8>>,
    /// The accounts.
    pub accounts: Vec<Account>,
    /// The aliases as written.
    pub aliases: Aliases,
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
    /// What verifiers of nobody are made from: random octets that outlive the process.
    pub scram_key: ScramKey,
    /// What mail that leaves is signed with.
    pub dkim_keys: Arc<dkim::Keys>,
}

impl SiteParts {
    /// A site with these names and nobody in it.
    pub fn new<'d>(hostname: &str, domains: impl IntoIterator<Item = &'d str>) -> Self {
        Self {
            hostname: hostname.into(),
            domains: domains.into_iter().map(|domain| fold(domain.as_bytes())).collect(),
            accounts: Vec::new(),
            aliases: Aliases::default(),
            limits: Limits::default(),
            login_without_tls: LoginWithoutTls::default(),
            bare_newline: BareNewline::default(),
            imap_masks: Arc::default(),
            sending: None,
            scram_key: ScramKey::new([0; 32]),
            dkim_keys: Arc::default(),
        }
    }
}

/// Why a site cannot be. Ranges count octets of the aliases file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SiteError {
    /// No domain at all.
    NoDomain,
    /// Two accounts have this address.
    DuplicateAccount(Vec<u8>),
    /// The same alias twice.
    DuplicateAlias {
        /// The name, in lower case.
        name: Vec<u8>,
        /// The second definition.
        span: Range<usize>,
        /// The first definition.
        first: Range<usize>,
    },
    /// An alias for a domain that is not ours.
    ForeignAlias {
        /// The domain.
        domain: Vec<u8>,
        /// The alias's name.
        span: Range<usize>,
    },
    /// A target that is not ours, and no mail is sent to other servers.
    ForeignTarget {
        /// The domain.
        domain: Vec<u8>,
        /// The target.
        span: Range<usize>,
    },
    /// A target elsewhere that no mail can be sent to.
    BadTarget {
        /// The target as written.
        address: Vec<u8>,
        /// The target.
        span: Range<usize>,
    },
    /// Aliases that lead in a circle.
    Loop {
        /// The names as written, the first one again at the end.
        chain: Vec<Vec<u8>>,
        /// The target that closes the circle.
        span: Range<usize>,
    },
    /// Nobody reads mail for postmaster (RFC 5321 §4.5.1).
    NoPostmaster {
        /// The alias `postmaster`, where there is one that leads to nobody.
        span: Option<Range<usize>>,
    },
}

/// Something a person should know about a site that works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SiteNote {
    /// A target that is nobody's name; it is left out.
    NoSuchUser {
        /// The name as written.
        name: Vec<u8>,
        /// The target.
        span: Range<usize>,
        /// How many further targets have the same name.
        more: usize,
    },
    /// A target in another's domain: mail for the alias leaves this host.
    Elsewhere {
        /// The domain, in lower case.
        domain: Vec<u8>,
        /// The target.
        span: Range<usize>,
    },
}

impl SiteNote {
    /// The target it is about.
    pub fn span(&self) -> &Range<usize> {
        match self {
            SiteNote::NoSuchUser { span, .. } | SiteNote::Elsewhere { span, .. } => span,
        }
    }
}

impl Site {
    /// Puts a site together.
    ///
    /// # Errors
    /// All [`SiteError`]s there are, in the order of the aliases file; never an empty list.
    pub fn build(parts: SiteParts) -> Result<(Self, Vec<SiteNote>), Vec<SiteError>> {
        let mut errors = Vec::new();
        let mut site = Self {
            hostname: parts.hostname,
            first_domain: parts.domains.first().map_or_else(Vec::new, |domain| fold_domain(domain)),
            domain_set: parts.domains.iter().map(|domain| fold_domain(domain)).collect(),
            domains: parts.domains,
            accounts_by_address: BTreeMap::new(),
            accounts: Vec::new(),
            aliases: Vec::new(),
            aliases_by_address: BTreeMap::new(),
            limits: parts.limits,
            login_without_tls: parts.login_without_tls,
            bare_newline: parts.bare_newline,
            imap_masks: parts.imap_masks,
            sending: parts.sending,
            remotes: Vec::new(),
            scram_key: parts.scram_key,
            dkim_keys: parts.dkim_keys,
        };
        if site.domains.is_empty() {
            errors.push(SiteError::NoDomain);
        }
        for (id, account) in (0..).map(AccountId).zip(&parts.accounts) {
            let address = join(&account.user, &fold_domain(&account.domain));
            if site.accounts_by_address.insert(address, id).is_some() {
                errors.push(SiteError::DuplicateAccount(account.address.clone()));
            }
        }
        site.accounts = parts.accounts.into_iter().map(Arc::new).collect();

        site.name_aliases(&parts.aliases, &mut errors);
        let (missing, spans) = (BTreeMap::new(), Vec::new());
        let (remotes, elsewhere) = (Vec::new(), Vec::new());
        let mut linker = Linker { site: &site, errors, missing, spans, remotes, elsewhere };
        let aliases: Vec<Vec<Goal>> =
            parts.aliases.entries.iter().map(|entry| linker.link(&entry.name, &entry.targets)).collect();
        let Linker { mut errors, missing, spans, remotes, elsewhere, .. } = linker;
        (site.aliases, site.remotes) = (aliases, remotes);
        find_loops(&site.aliases, &parts.aliases, &spans, &mut errors);
        if errors.is_empty() {
            site.check_postmaster(&parts.aliases, &mut errors);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut notes: Vec<SiteNote> = missing
            .into_iter()
            .map(|(name, (span, more))| SiteNote::NoSuchUser { name, span, more })
            .chain(elsewhere)
            .collect();
        notes.sort_by_key(|note| note.span().start);
        Ok((site, notes))
    }

    fn name_aliases(&mut self, aliases: &Aliases, errors: &mut Vec<SiteError>) {
        for (index, entry) in aliases.entries.iter().enumerate() {
            let Name { local, domain, span } = &entry.name;
            let (name, bare) = match domain {
                Some(domain) if !self.is_local_domain(domain) => {
                    errors.push(SiteError::ForeignAlias { domain: domain.clone(), span: span.clone() });
                    continue;
                }
                Some(domain) => (join(&fold(local), &fold_domain(domain)), false),
                None => (join(&fold(local), self.first_domain()), true),
            };
            if let Some(first) = self.aliases_by_address.get(&name) {
                let first = aliases.entries.get(first.index).map_or(0..0, |entry| entry.name.span.clone());
                errors.push(SiteError::DuplicateAlias { name, span: span.clone(), first });
            } else {
                self.aliases_by_address.insert(name, AliasKey { index, bare });
            }
        }
    }

    fn check_postmaster(&self, aliases: &Aliases, errors: &mut Vec<SiteError>) {
        let goal = self.look_up(b"postmaster", self.first_domain());
        let is_somebody = |goal| {
            let (accounts, remote) = self.expand(goal);
            !(accounts.is_empty() && remote.is_empty())
        };
        if goal.is_some_and(is_somebody) {
            return;
        }
        let span = match goal {
            Some(Goal::Alias(index)) => aliases.entries.get(index).map(|entry| entry.name.span.clone()),
            Some(Goal::Account(_) | Goal::Remote(_)) | None => None,
        };
        errors.push(SiteError::NoPostmaster { span });
    }
}

/// Looks up the targets of aliases, names of aliases being known already.
struct Linker<'s> {
    site: &'s Site,
    errors: Vec<SiteError>,
    /// Names nobody has: where first, and how often again.
    missing: BTreeMap<Vec<u8>, (Range<usize>, usize)>,
    /// For each alias the places of its goals.
    spans: Vec<Vec<Range<usize>>>,
    /// Addresses elsewhere,
    remotes: Vec<Arc<str>>,
    /// and a note about each.
    elsewhere: Vec<SiteNote>,
}

impl Linker<'_> {
    fn link(&mut self, name: &Name, targets: &[Target]) -> Vec<Goal> {
        let index = self.spans.len();
        let (mut goals, mut spans) = (Vec::new(), Vec::new());
        for target in targets {
            if let Some(goal) = self.target(index, name, target) {
                goals.push(goal);
                spans.push(target.name.span.clone());
            }
        }
        self.spans.push(spans);
        goals
    }

    fn target(&mut self, alias: usize, alias_name: &Name, target: &Target) -> Option<Goal> {
        let site = self.site;
        let span = &target.name.span;
        let local = fold(&target.name.local);
        let domain = target.name.domain.as_deref().map_or_else(|| site.first_domain().to_vec(), fold_domain);
        if !site.domain_set.contains(&domain) {
            return self.remote(domain, target);
        }
        let account = || site.accounts_by_address.get(&join(&local, &domain)).copied().map(Goal::Account);
        let found = if target.account_only {
            account()
        } else {
            match site.look_up(&local, &domain) {
                // The alias names itself: it means the account. A catch-all that catches its own target does not.
                Some(Goal::Alias(index)) if index == alias => {
                    if alias_name.local.is_empty() {
                        None
                    } else {
                        account().or(Some(Goal::Alias(index)))
                    }
                }
                found => found,
            }
        };
        if found.is_none() {
            let name = as_written(&target.name);
            self.missing.entry(name).and_modify(|(_, more)| *more += 1).or_insert((span.clone(), 0));
        }
        found
    }
}

impl Linker<'_> {
    /// A target in a domain that is not ours.
    fn remote(&mut self, domain: Vec<u8>, target: &Target) -> Option<Goal> {
        let span = target.name.span.clone();
        if self.site.sending.is_none() {
            self.errors.push(SiteError::ForeignTarget { domain, span });
            return None;
        }
        // The local part is its owner's to read: it stays as it is, in quotes where they are needed.
        let local = String::from_utf8_lossy(&target.name.local);
        let note = SiteNote::Elsewhere { domain: domain.clone(), span: span.clone() };
        let domain = String::from_utf8_lossy(&domain);
        let plain = alloc::format!("{local}@{domain}");
        let quoted = || alloc::format!("\"{}\"@{domain}", local.replace('\\', "\\\\").replace('"', "\\\""));
        let address = Some(plain).filter(|address| Mailbox::parse(address).is_ok());
        let address = address.or_else(|| Some(quoted()).filter(|address| Mailbox::parse(address).is_ok()));
        let Some(address) = address else {
            self.errors.push(SiteError::BadTarget { address: as_written(&target.name), span });
            return None;
        };
        self.remotes.push(address.into());
        self.elsewhere.push(note);
        Some(Goal::Remote(self.remotes.len() - 1))
    }
}

/// Depth first over the aliases, without recursion: an alias met again while its own targets are being
/// visited closes a circle.
fn find_loops(
    aliases: &[Vec<Goal>],
    written: &Aliases,
    spans: &[Vec<Range<usize>>],
    errors: &mut Vec<SiteError>,
) {
    let (mut done, mut on_path) = (BTreeSet::new(), BTreeSet::new());
    for root in 0..aliases.len() {
        if done.contains(&root) {
            continue;
        }
        // The aliases between the root and here, with the number of the next target of each.
        let mut path = Vec::from([(root, 0)]);
        on_path.insert(root);
        while let Some((alias, next)) = path.last_mut() {
            let (alias, at) = (*alias, *next);
            *next += 1;
            match aliases.get(alias).and_then(|goals| goals.get(at)) {
                Some(Goal::Account(_) | Goal::Remote(_)) => {}
                Some(&Goal::Alias(other)) if on_path.contains(&other) => {
                    let start = path.iter().position(|&(alias, _)| alias == other).unwrap_or(0);
                    let circle = path.iter().skip(start).map(|&(alias, _)| alias).chain([other]);
                    let chain =
                        circle.filter_map(|alias| written.entries.get(alias)).map(|e| as_written(&e.name));
                    let span = spans.get(alias).and_then(|spans| spans.get(at)).cloned().unwrap_or(0..0);
                    errors.push(SiteError::Loop { chain: chain.collect(), span });
                }
                Some(&Goal::Alias(other)) => {
                    if !done.contains(&other) {
                        on_path.insert(other);
                        path.push((other, 0));
                    }
                }
                None => {
                    on_path.remove(&alias);
                    done.insert(alias);
                    path.pop();
                }
            }
        }
    }
}

fn as_written(name: &Name) -> Vec<u8> {
    match &name.domain {
        Some(domain) => join(&name.local, domain),
        None => name.local.clone(),
    }
}

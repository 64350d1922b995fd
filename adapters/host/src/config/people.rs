//! Accounts and aliases: reads both files, and turns what core finds wrong into problems with a place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use postier_core::site::{Account, Aliases, Quota, Secret, Site, SiteError, SiteNote, SiteParts};

use super::{Settings, read_named};
use crate::files::ReadFiles;
use crate::password::parse_scram;
use crate::report::{Problem, did_you_mean, is_slip_of};
use crate::users::{User, UserError, UserErrorKind, UsersFile};

pub(super) fn build_site(
    settings: &Settings,
    files: &dyn ReadFiles,
    problems: &mut Vec<Problem>,
) -> Option<Site> {
    let advice = "`postier user add you@DOMAIN` makes it";
    let accounts = read_named(settings, files, "the users file", &settings.accounts, advice, problems);
    // The aliases are read all the same, so that their mistakes are reported too.
    let octets = accounts.as_ref().map_or(&[][..], |file| &file.octets);
    let errors_before = problems.len();
    let site = build_site_from(settings, files, octets, problems);
    if accounts.is_none() {
        // Without accounts everything leads nowhere; saying so would hide the cause.
        problems.truncate(errors_before);
        return None;
    }
    site
}

pub(super) fn build_site_from(
    settings: &Settings,
    files: &dyn ReadFiles,
    accounts: &[u8],
    problems: &mut Vec<Problem>,
) -> Option<Site> {
    let errors_before = problems.len();
    let accounts = read_accounts(settings, accounts, problems);
    let aliases_text = match &settings.aliases {
        None => Vec::new(),
        Some(place) => {
            let advice = "make the file with the line `postmaster: you`, or take `[aliases]` out";
            read_named(settings, files, "the aliases file", place, advice, problems)?.octets
        }
    };
    let password = match &settings.send.login {
        None => None,
        Some((_, place)) => {
            let advice = "make the file with the password in its first line, for nobody but root to read";
            Some(read_named(settings, files, "the relay's password", place, advice, problems)?.octets)
        }
    };
    let aliases_path = settings.aliases_path().unwrap_or(&settings.path);
    let (aliases, errors) = Aliases::parse(&aliases_text);
    for error in &errors {
        let problem =
            Problem::error(error.kind.to_string()).at(aliases_path, &aliases_text, error.span.clone(), "");
        problems.push(problem.advise(error.kind.advice()));
    }
    if problems.len() > errors_before {
        return None;
    }
    let parts = SiteParts {
        hostname: settings.hostname.value.clone(),
        domains: settings.domains.iter().map(|domain| domain.value.clone().into_bytes()).collect(),
        accounts,
        aliases,
        limits: settings.limits,
        login_without_tls: settings.login_without_tls,
        bare_newline: settings.bare_newline,
        imap_masks: settings.imap_masks.clone(),
        sending: settings.send.with_password(password.as_deref()),
        ..SiteParts::new("", [])
    };
    let names: Vec<String> = parts.accounts.iter().map(|account| lossy(&account.address)).collect();
    let context = Context { settings, path: aliases_path, text: &aliases_text, names: &names };
    match Site::build(parts) {
        Ok((site, notes)) => {
            problems.extend(notes.iter().filter_map(|note| context.note(note)));
            Some(site)
        }
        Err(errors) => {
            problems.extend(errors.iter().map(|error| context.error(error)));
            None
        }
    }
}

fn read_accounts(settings: &Settings, text: &[u8], problems: &mut Vec<Problem>) -> Vec<Account> {
    let path = &settings.accounts.value;
    let (file, errors) = UsersFile::parse(text.to_vec());
    problems.extend(errors.iter().map(|error| user_error(path, error)));
    let (mut accounts, mut lines, mut maildirs) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for user in file.users() {
        let domain =
            user.domain.as_ref().map_or_else(|| settings.first_domain().into(), |d| lossy(d).to_lowercase());
        let at_name = |problem: Problem| point_at_name(problem, path, text, user);
        let Some(domain) = settings.domain_named(&domain) else {
            let known: Vec<_> = settings.domains.iter().map(|domain| domain.value.as_str()).collect();
            let problem = at_name(Problem::error(format!("the domain {domain} is not ours")));
            problems.push(problem.advise(match did_you_mean(&domain, known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => {
                    format!("add it to `domains` in {}, or take the account out", settings.path.display())
                }
            }));
            continue;
        };
        let name = lossy(&user.user).to_lowercase();
        let maildir = settings.layout.expand(name.as_bytes(), domain.as_bytes());
        let account = Account::new(&user.user, domain.as_bytes(), maildir, Secret::new(user.secret.clone()));
        // The file's reader has looked at the name already.
        let Ok(mut account) = account else { continue };
        // A password field may hold the verifier itself.
        let stored = || std::str::from_utf8(&user.secret).ok().and_then(|secret| parse_scram(secret).ok());
        account.scram = user.scram.clone().or_else(stored);
        account.quota = user.quota.or(Some(settings.quota)).filter(Quota::is_limited);
        if let Some(first) = lines.insert(account.address.clone(), user.line) {
            let problem =
                at_name(Problem::error(format!("the account {} is there twice", lossy(&account.address))));
            problems.push(problem.advise(format!("it is on line {first} already: take one of them out")));
        } else if let Some(other) = maildirs.insert(account.maildir.clone(), lossy(&account.address)) {
            let title = format!("{} and {other} would share one Maildir", lossy(&account.address));
            let problem = settings.point(Problem::error(title), settings.maildir.span.clone(), "");
            problems.push(problem.advise("put `{domain}` into the path as well"));
        }
        accounts.push(account);
    }
    accounts
}

fn user_error(path: &Path, error: &UserError) -> Problem {
    let (title, advice, at_password) = match &error.kind {
        UserErrorKind::NoColon => (
            "this line is not an account".to_owned(),
            "write `user@domain:{SCHEME}hash`, or let `postier user add` write it".to_owned(),
            false,
        ),
        UserErrorKind::Name(why) => {
            (format!("this is no name for an account: {why}"), "choose another name".to_owned(), false)
        }
        UserErrorKind::Password(why) => (why.to_string(), why.advice(), true),
        UserErrorKind::Scram => (
            "the field postier_scram is damaged".to_owned(),
            format!("set a new password with `postier user passwd {}`", error.name),
            true,
        ),
        UserErrorKind::Quota => (
            "the field userdb_quota_rule is not understood".to_owned(),
            "write `userdb_quota_rule=*:storage=1G:messages=10000`, either of both, or `*:ignore`".to_owned(),
            false,
        ),
    };
    // What is shown of the line holds no secret.
    let shown = match &error.kind {
        UserErrorKind::NoColon => "(not shown: it may be a password)".to_owned(),
        UserErrorKind::Name(_) | UserErrorKind::Password(_) | UserErrorKind::Scram | UserErrorKind::Quota => {
            format!("{}:{}…", error.name, error.scheme)
        }
    };
    let name_end = if error.name.is_empty() { shown.len() } else { error.name.len() };
    let span = if at_password { name_end + 1..shown.len() } else { 0..name_end };
    Problem::error(title).at_line(path, error.line, &shown, span, "").advise(advice)
}

fn point_at_name(problem: Problem, path: &Path, text: &[u8], user: &User) -> Problem {
    let name = lossy(text.get(user.name_span.clone()).unwrap_or_default());
    let shown = format!("{name}:…");
    problem.at_line(path, user.line, &shown, 0..name.len(), "")
}

/// Where the aliases are, for problems that point into them.
struct Context<'c> {
    settings: &'c Settings,
    path: &'c Path,
    text: &'c [u8],
    /// The addresses of all accounts.
    names: &'c [String],
}

impl Context<'_> {
    fn at(&self, problem: Problem, span: &std::ops::Range<usize>, label: &str) -> Problem {
        problem.at(self.path, self.text, span.clone(), label)
    }

    fn line_of(&self, offset: usize) -> usize {
        self.text.iter().take(offset).filter(|&&b| b == b'\n').count() + 1
    }

    /// What a person should look at.
    fn note(&self, note: &SiteNote) -> Option<Problem> {
        match note {
            SiteNote::NoSuchUser { name, span, more } => Some(self.nobody(name, span, *more)),
            SiteNote::Elsewhere { domain, span } => self.slip(&lossy(domain), span),
        }
    }

    /// A target elsewhere, in a domain that may have been meant to be ours.
    fn slip(&self, domain: &str, span: &Range<usize>) -> Option<Problem> {
        let mut ours = self.settings.domains.iter().map(|domain| &domain.value);
        let ours = ours.find(|ours| is_slip_of(domain, ours))?;
        let problem = Problem::warning(format!("{domain} is not ours: this alias sends its mail there"));
        Some(self.at(problem, span, "").advise(format!("did you mean {ours}?")))
    }

    fn nobody(&self, name: &[u8], span: &Range<usize>, more: usize) -> Problem {
        let name = lossy(name);
        let problem =
            self.at(Problem::warning(format!("nobody is called {name}")), span, "this target is left out");
        let also = match more {
            0 => String::new(),
            1 => "one more alias leads there".to_owned(),
            more => format!("{more} more aliases lead there"),
        };
        let users = self.names.iter().filter_map(|name| name.split('@').next());
        let advice = match did_you_mean(&name, users) {
            Some(near) => format!("did you mean {near}?"),
            None => {
                let reader = self.names.first().map_or("you", String::as_str);
                format!("add the line `{name}: {reader}`, or the account, or take it out")
            }
        };
        problem.advise(also).advise(advice)
    }

    fn error(&self, error: &SiteError) -> Problem {
        let domains = || self.settings.domains.iter().map(|domain| domain.value.as_str());
        match error {
            SiteError::NoDomain => Problem::error("no domain").in_file(&self.settings.path),
            SiteError::DuplicateAccount(address) => {
                Problem::error(format!("the account {} is there twice", lossy(address)))
                    .in_file(&self.settings.accounts.value)
            }
            SiteError::DuplicateAlias { name, span, first } => {
                let problem = Problem::error(format!("the alias {} is there twice", lossy(name)));
                let advice =
                    format!("it is on line {} already: make one list of both", self.line_of(first.start));
                self.at(problem, span, "").advise(advice)
            }
            SiteError::ForeignAlias { domain, span } => {
                let problem = Problem::error(format!("the domain {} is not ours", lossy(domain)));
                self.at(problem, span, "").advise(match did_you_mean(&lossy(domain), domains()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("add it to `domains` in {}", self.settings.path.display()),
                })
            }
            SiteError::ForeignTarget { domain, span } => {
                let problem =
                    Problem::error(format!("{} is elsewhere, and no mail is sent there", lossy(domain)));
                self.at(problem, span, "").advise(match did_you_mean(&lossy(domain), domains()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "name an account of this server".to_owned(),
                })
            }
            SiteError::BadTarget { address, span } => {
                let problem = Problem::error(format!("{} is no address", lossy(address)));
                self.at(problem, span, "").advise("write `user@domain`")
            }
            SiteError::Loop { chain, span } => {
                let chain: Vec<_> = chain.iter().map(|name| lossy(name)).collect();
                let problem =
                    Problem::error(format!("these aliases go round in a circle: {}", chain.join(" → ")));
                self.at(problem, span, "this closes the circle").advise("let one of them lead to an account")
            }
            SiteError::NoPostmaster { span } => self.no_postmaster(span.as_ref()),
        }
    }

    fn no_postmaster(&self, span: Option<&std::ops::Range<usize>>) -> Problem {
        let problem = Problem::error("nobody reads the mail for postmaster");
        let problem = match span {
            Some(span) => self.at(problem, span, "leads to nobody"),
            None => problem.in_file(self.path),
        };
        let Some(reader) = self.names.first() else {
            let domain = self.settings.first_domain();
            return problem.advise(format!("there is no account yet: `postier user add you@{domain}`"));
        };
        match (span, &self.settings.aliases) {
            (Some(_), _) => problem.advise(format!("let it lead to an account: `postmaster: {reader}`")),
            (None, Some(_)) => problem.advise(format!("add the line `postmaster: {reader}`")),
            (None, None) => problem.advise(format!(
                "write `[aliases]` with `file = \"aliases\"`, and in that file `postmaster: {reader}`"
            )),
        }
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

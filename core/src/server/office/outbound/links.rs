//! A connection that the queue wants: the way to its destination, one host after the other, until one talks to us; then
//! its session's questions.
//!
//! A host that cannot be reached, that refuses the session or breaks off before it has had a mail is left for the next
//! (RFC 5321 §5.1). One whose TLS fails is tried once more without, where the policy allows that (RFC 7435 §3). Where
//! nobody has told us a policy for the domain, its own word counts: DANE (RFC 7672), and where that says nothing of a
//! host, the domain's policy (MTA-STS, RFC 8461).

mod trust;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::policies::Known;
use super::{Asker, Done, Outbound, Todo};
use crate::dns::dane::{self, Finding};
use crate::dns::mta_sts::{self, Mode};
use crate::dns::name::DomainName;
use crate::dns::resolver::{LookupId, ResolverInput};
use crate::dns::route::{Hop, NoRoute, Options, Route, RouteStep};
use crate::dns::{self, Question};
use crate::event::{Event, Fate};
use crate::queue::machine::{Job, LinkId, QueueInput, Unreachable};
use crate::queue::spool;
use crate::server::office::{Desk, OfficeAction};
use crate::server::{Call, Caller, FromOffice, LinkNews, Trust};
use crate::site::{Relay, TlsPolicy, Way};
use crate::smtp::address::Domain;
use crate::smtp::client::{
    Answer, Ask, End, Lack, Mail, NextVerdict, Outcome, ReadVerdict, Recipient, Setup, Tls,
};
use crate::ticket::Ticket;
use crate::wire::eol::crlf_len;

/// The port of mail.
const PORT: u16 = 25;
/// A server that does not answer a connection for this long is left for the next.
const CONNECT: Duration = Duration::from_secs(30);
/// Octets of a message that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// Of the words about a failed handshake that are kept.
const TROUBLE_CHARS_MAX: usize = 300;

/// See the module's manual.
#[derive(Debug)]
pub(super) struct Link {
    destination: Arc<str>,
    route: Route,
    /// How the server is talked to.
    relay: Relay,
    /// What is tried now.
    hop: Option<Hop>,
    /// `hop` is to be called, as far as it is known how.
    ready: bool,
    /// The host is tried again, without TLS.
    plain: bool,
    /// The domain, if its own word about TLS counts.
    domain: Option<DomainName>,
    /// What DANE says of the hop is being looked up.
    dane: Option<dane::Lookup>,
    /// What it says; of a hop that was not asked about, nothing.
    finding: Finding,
    /// What is known of the domain's policy.
    known: Known,
    /// Why the hop would have no mail, did the domain not only test its policy.
    failed_test: Option<String>,
    /// The version of TLS in use.
    tls: Option<&'static str>,
    /// Why TLS came to nothing.
    tls_trouble: Option<String>,
    /// Who the other end is, for people.
    host: Arc<str>,
    caller: Option<Caller>,
    next: Option<Ticket<NextVerdict>>,
    record: Option<Ticket<()>>,
    job: Option<Job>,
    /// It has had a job.
    worked: bool,
    /// What went wrong with the hosts before.
    trouble: Option<Unreachable>,
}

/// Where the hosts of a destination are found, how to talk to them, and the domain whose own word about TLS counts.
type Direction = (Route, Relay, Option<DomainName>);

impl Link {
    /// What a lookup has come to.
    pub(super) fn answer(&mut self, outcome: dns::Outcome) {
        let Some(lookup) = &mut self.dane else {
            return match self.known {
                Known::Asked => self.known = Known::Record(mta_sts::id_found(outcome)),
                _ => self.route.answer(outcome),
            };
        };
        let Some(finding) = lookup.answer(outcome) else { return };
        self.dane = None;
        if let Finding::Failed(failure) = finding {
            let words = failure.text();
            let why =
                format!("451 4.7.5 The TLSA records (DANE) of {} could not be looked up: {words}", self.host);
            self.ready = false;
            return self.give_up(Unreachable { permanent: false, why, host: None });
        }
        self.finding = finding;
    }

    /// The host is no good; if another one may be better later, so it is for all.
    fn give_up(&mut self, mut why: Unreachable) {
        why.permanent &= self.trouble.as_ref().is_none_or(|before| before.permanent);
        self.trouble = Some(why);
    }

    /// The next host.
    fn take_hop(&mut self, hop: Hop) {
        self.host = match hop.host.as_str() {
            "" => format!("[{}]", hop.address).into(),
            name => name.into(),
        };
        let domain = self.domain.as_ref();
        self.dane = domain.and_then(|domain| dane::Lookup::new(&hop, domain, self.relay.port));
        self.finding = Finding::Nothing;
        self.failed_test = None;
        self.ready = true;
        self.hop = Some(hop);
    }
}

impl Outbound {
    pub(super) fn connect(&mut self, id: LinkId, destination: Arc<str>) {
        if self.stopping {
            return;
        }
        match self.way(&destination) {
            Ok((route, relay, domain)) => {
                let link = Link {
                    host: destination.clone(),
                    destination,
                    route,
                    relay,
                    hop: None,
                    ready: false,
                    plain: false,
                    domain,
                    dane: None,
                    finding: Finding::Nothing,
                    known: Known::Unasked,
                    failed_test: None,
                    tls: None,
                    tls_trouble: None,
                    caller: None,
                    next: None,
                    record: None,
                    job: None,
                    worked: false,
                    trouble: None,
                };
                self.links.insert(id, link);
                self.todo.push_back(Todo::Step(id));
            }
            Err(why) => {
                self.todo.push_back(Todo::Queue(QueueInput::Ended { link: id, why: Some(why) }));
            }
        }
    }

    /// The hosts of a destination, how to talk to them, and the domain if its own word about TLS counts.
    fn way(&mut self, destination: &str) -> Result<Direction, Unreachable> {
        let refuse = |permanent, why: &str| Unreachable { permanent, why: why.into(), host: None };
        let no_domain = || refuse(true, "553 5.1.2 This is no domain");
        let own_names = DomainName::parse(self.site.hostname()).into_iter().collect();
        let options = Options { ipv4_only: self.sending.ipv4_only, own_names };
        let relay = match self.sending.way_of_line(destination) {
            Some(Way::Relay(relay)) => relay,
            // A reload has come in between: the next try goes where the new configuration says.
            None => return Err(refuse(false, "451 4.3.5 The configuration has changed")),
            Some(Way::Exchangers(policy)) => {
                let tls = policy.unwrap_or(self.sending.tls);
                let direct = Relay { host: String::new(), port: PORT, tls, credentials: None };
                self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let mut domain = None;
                let route = match Domain::parse(destination) {
                    Ok(Domain::V4(address)) => Route::to_address(address.into()),
                    Ok(Domain::V6(address)) => Route::to_address(address.into()),
                    Ok(Domain::Name(name)) => {
                        let name = DomainName::parse(name).ok_or_else(no_domain)?;
                        // Who has told us a policy knows better than DNS.
                        let asks = policy.is_none() && matches!(tls, TlsPolicy::May | TlsPolicy::Encrypt);
                        domain = Some(name.clone()).filter(|_| asks);
                        Route::new(name, options, self.seed >> 20)
                    }
                    Err(_) => return Err(no_domain()),
                };
                return Ok((route, direct, domain));
            }
        };
        let route = match (relay.host.parse::<IpAddr>(), DomainName::parse(&relay.host)) {
            (Ok(address), _) => Route::to_address(address),
            (Err(_), Some(name)) => Route::to_host(name, options),
            (Err(_), None) => return Err(refuse(true, "553 5.1.2 The configured relay has no usable name")),
        };
        Ok((route, relay, None))
    }

    /// The next step on the way to a host.
    pub(super) fn step(&mut self, id: LinkId, desk: &mut Desk<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let Some(dane) = &link.dane {
            let question = dane.question().clone();
            return self.look_up(Asker::Link(id), question, desk);
        }
        if link.ready && !self.knows_policy(id, desk) {
            return;
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        if core::mem::take(&mut link.ready)
            && let Some(hop) = link.hop.clone()
        {
            match link.off_policy(&hop, desk) {
                None => return self.call(id, &hop, desk),
                Some(why) => link.give_up(why),
            }
        }
        match link.route.poll() {
            RouteStep::Ask(question) => self.look_up(Asker::Link(id), question, desk),
            RouteStep::Hop(hop) => {
                link.take_hop(hop);
                self.todo.push_back(Todo::Step(id));
            }
            RouteStep::Exhausted => self.end(id, None, desk),
            RouteStep::None(why) => {
                let why = no_route(why, &link.destination);
                self.end(id, Some(why), desk);
            }
        }
    }

    pub(super) fn look_up(&mut self, asker: Asker, question: Question, desk: &mut Desk<'_>) {
        self.last_lookup += 1;
        let lookup = LookupId(self.last_lookup);
        self.lookups.insert(lookup, asker);
        self.resolve(ResolverInput::Ask { lookup, question }, desk);
    }

    fn call(&mut self, id: LinkId, hop: &Hop, desk: &mut Desk<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (policy, trust) = (link.policy(), link.trust());
        let name = match &trust {
            Trust::Dane(dane) => dane.base.as_str(),
            Trust::Anybody | Trust::Watched | Trust::Roots => hop.host.as_str(),
        };
        link.tls_trouble = None;
        let tls = match policy {
            TlsPolicy::Never => Tls::Never,
            TlsPolicy::May if link.plain => Tls::Never,
            TlsPolicy::May => Tls::May,
            TlsPolicy::Encrypt | TlsPolicy::Verify | TlsPolicy::Implicit => Tls::Must,
        };
        let setup = Setup {
            hostname: self.site.hostname().into(),
            tls,
            implicit_tls: policy == TlsPolicy::Implicit,
            credentials: link.relay.credentials.clone(),
            ..Setup::default()
        };
        desk.out.push(OfficeAction::Call(Box::new(Call {
            link: id,
            address: SocketAddr::new(hop.address, link.relay.port),
            host: name.into(),
            trust,
            patience: CONNECT,
            setup,
        })));
    }

    pub(super) fn link_news(
        &mut self,
        caller: Option<Caller>,
        id: LinkId,
        news: LinkNews,
        desk: &mut Desk<'_>,
    ) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.caller = caller.or(link.caller);
        match news {
            LinkNews::Unconnected(words) => {
                let why = format!("451 4.4.1 No connection to {}: {words}", link.host);
                link.give_up(Unreachable { permanent: false, why, host: None });
                link.plain = false;
                self.todo.push_back(Todo::Step(id));
            }
            LinkNews::TlsTrouble(words) => link.tls_trouble = Some(shown(&words)),
            LinkNews::TlsDoubt(words) => link.fails_test(&shown(&words), desk),
            LinkNews::Ask(Ask::Next { ticket, recipients_max, tls, .. }) => {
                link.next = Some(ticket);
                link.tls = tls;
                match tls {
                    None if link.plain => link.fails_test("TLS with it failed", desk),
                    None => link.fails_test("it offers no TLS", desk),
                    Some(_) => {}
                }
                self.todo.push_back(Todo::Queue(QueueInput::Ready { link: id, recipients_max }));
            }
            LinkNews::Ask(Ask::Read { ticket, offset }) => self.read(id, ticket, offset, desk),
            LinkNews::Ask(Ask::Record { ticket, outcomes }) => {
                link.record = Some(ticket);
                let host = link.host.to_string();
                if let Some(job) = link.job.take() {
                    report(&job, &host, &link.protection(), &outcomes, desk);
                }
                self.todo.push_back(Todo::Queue(QueueInput::Outcomes { link: id, host, outcomes }));
            }
            LinkNews::Ended(end) => self.session_ended(id, end, desk),
        }
    }

    fn session_ended(&mut self, id: LinkId, end: End, desk: &mut Desk<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(why) = unreachable(end.clone(), link) else { return self.end(id, None, desk) };
        if link.worked {
            return self.end(id, Some(why), desk);
        }
        // RFC 7435: encrypted to anybody is better than in the clear, and that better than not at all.
        let again = end == End::TlsFailed && link.policy() == TlsPolicy::May && !link.plain;
        (link.plain, link.ready) = (again, again);
        if !again {
            link.give_up(why);
        }
        self.todo.push_back(Todo::Step(id));
    }

    /// The connection is over, or there is none.
    fn end(&mut self, id: LinkId, why: Option<Unreachable>, desk: &mut Desk<'_>) {
        let Some(link) = self.links.remove(&id) else { return };
        let why = match (why, link.trouble) {
            (None, trouble) if !link.worked => trouble,
            (why, _) => why,
        };
        if let Some(why) = &why {
            let (destination, why) = (link.destination, why.why.clone());
            desk.event(None, Event::Unreachable { destination, why });
        }
        self.todo.push_back(Todo::Queue(QueueInput::Ended { link: id, why }));
    }

    pub(super) fn give_job(&mut self, id: LinkId, job: Option<Job>, desk: &mut Desk<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let verdict = match &job {
            Some(job) => NextVerdict::Mail(Box::new(mail(job))),
            None => NextVerdict::Quit,
        };
        link.worked |= job.is_some();
        if job.is_none() && !link.worked {
            // It was good enough to talk to: nothing is wrong with the destination.
            link.trouble = None;
        }
        link.job = job;
        if let (Some(ticket), Some(caller)) = (link.next.take(), link.caller) {
            let answer = Answer::Next(ticket.answer(verdict));
            desk.answer(caller, FromOffice::Link { conn: caller.conn, answer });
        }
    }

    pub(super) fn go_on(&mut self, id: LinkId, desk: &mut Desk<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let (Some(ticket), Some(caller)) = (link.record.take(), link.caller) {
            let answer = Answer::Record(ticket.answer(()));
            desk.answer(caller, FromOffice::Link { conn: caller.conn, answer });
        }
    }

    fn read(&mut self, id: LinkId, ticket: Ticket<ReadVerdict>, offset: u64, desk: &mut Desk<'_>) {
        let job = self.links.get(&id).and_then(|link| link.job.as_ref());
        let Some(job) = job else { return self.answer_read(id, ticket, Some(Vec::new()), desk) };
        // The signature stands in front.
        let signature = &job.envelope.signature;
        let front =
            usize::try_from(offset).ok().and_then(|offset| signature.get(offset..)).unwrap_or_default();
        let offset = offset.saturating_sub(signature.len() as u64);
        if !front.is_empty() || offset >= job.envelope.size {
            return self.answer_read(id, ticket, Some(front.to_vec()), desk);
        }
        let message = job.id.clone();
        self.task(move |disk, root| async move {
            Done::Read(id, ticket, spool::read(disk, root, message, offset, READ_BYTES).await)
        });
    }

    pub(super) fn answer_read(
        &mut self,
        id: LinkId,
        ticket: Ticket<ReadVerdict>,
        octets: Option<Vec<u8>>,
        desk: &mut Desk<'_>,
    ) {
        let Some(caller) = self.links.get(&id).and_then(|link| link.caller) else { return };
        let answer = Answer::Read(ticket.answer(octets.map_or(ReadVerdict::Failed, ReadVerdict::Octets)));
        desk.answer(caller, FromOffice::Link { conn: caller.conn, answer });
    }
}

/// The part of a message that a connection carries.
fn mail(job: &Job) -> Mail {
    let envelope = &job.envelope;
    let recipients = job.recipients.iter().filter_map(|n| envelope.recipients.get(*n));
    Mail {
        reverse_path: envelope.reverse_path.clone(),
        recipients: recipients
            .map(|recipient| Recipient {
                forward_path: recipient.forward_path.clone(),
                dsn_notify: recipient.notify,
                dsn_original: recipient.original.clone(),
            })
            .collect(),
        size: envelope.wire_size.saturating_add(crlf_len(&envelope.signature)),
        eight_bit: envelope.eight_bit,
        smtputf8: envelope.smtputf8,
        dsn_return_full: envelope.return_full,
        dsn_envelope_id: envelope.envelope_id.clone(),
    }
}

/// Tells the log what has become of each recipient.
pub(super) fn report(job: &Job, host: &str, tls: &str, outcomes: &[Outcome], desk: &mut Desk<'_>) {
    let recipients = job.recipients.iter().filter_map(|n| job.envelope.recipients.get(*n));
    for (recipient, outcome) in recipients.zip(outcomes) {
        let (fate, reply) = match outcome {
            Outcome::Delivered { reply, .. } => (Fate::Sent, reply.to_string()),
            Outcome::Refused(reply) if reply.is_permanent() => (Fate::Failed, reply.to_string()),
            Outcome::Refused(reply) => (Fate::Deferred, reply.to_string()),
            Outcome::Unfit(lack) => (Fate::Failed, lacking(*lack).into()),
        };
        let (id, to, host, tls) = (job.id.clone(), recipient.forward_path.clone(), host.into(), tls.into());
        desk.event(None, Event::Sent { id, to, host, fate, reply, tls });
    }
}

/// Of what was wrong with TLS, what is kept: a certificate may have many names.
fn shown(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(TROUBLE_CHARS_MAX).collect()
}

const fn lacking(lack: Lack) -> &'static str {
    match lack {
        Lack::Size { .. } => "the mail is too big for the server",
        Lack::SmtpUtf8 => "the server lacks SMTPUTF8",
        Lack::EightBit => "the server lacks 8BITMIME",
    }
}

/// What the end of a session means for its destination; `None` if nothing was wrong.
fn unreachable(end: End, link: &Link) -> Option<Unreachable> {
    let words = match end {
        End::Done => return None,
        End::Refused(reply) => {
            // A server that does not know our password may know it when the configuration is mended.
            let permanent = reply.is_permanent() && link.relay.credentials.is_none();
            let host = Some(link.host.to_string());
            return Some(Unreachable { permanent, why: reply.to_string(), host });
        }
        End::NoTls if link.domain_policy(Mode::Enforce).is_some() => {
            "454 4.7.4 It offers no TLS, which the domain's policy (MTA-STS) promises"
        }
        End::NoTls => "454 4.7.4 It offers no TLS, and mail for it must be encrypted",
        End::TlsFailed => {
            let words = link.tls_trouble.as_deref().unwrap_or("the connection was closed");
            let whose = match link.domain_policy(Mode::Enforce) {
                Some(_) => format!(" (the policy of {}, MTA-STS, wants it verified)", link.destination),
                None => String::new(),
            };
            let why = format!("454 4.7.5 TLS with {} failed: {words}{whose}", link.host);
            return Some(Unreachable { permanent: false, why, host: None });
        }
        End::NoAuth => "454 4.7.0 It offers no way to log in inside TLS",
        End::Lost => "451 4.4.2 The connection was lost",
        End::TimedOut => "451 4.4.2 It said nothing for too long",
        End::Nonsense => "451 4.5.0 It does not speak SMTP as we know it",
        End::Local => "451 4.3.0 The message could not be read here",
    };
    Some(Unreachable { permanent: false, why: format!("{words} (server {})", link.host), host: None })
}

fn no_route(why: NoRoute, destination: &str) -> Unreachable {
    let words = match why {
        NoRoute::NoSuchDomain => format!("550 5.1.2 The domain {destination} does not exist"),
        NoRoute::NullMx => format!("556 5.1.10 The domain {destination} says that it takes no mail"),
        NoRoute::LoopsBack => {
            format!("554 5.4.6 Mail for {destination} comes back here, where nobody knows the domain")
        }
        NoRoute::NoAddress => {
            format!("550 5.4.4 The mail servers of {destination} have no address")
        }
        NoRoute::Dns(failure) => {
            format!("451 4.4.3 The mail servers of {destination} could not be looked up: {}", failure.text())
        }
    };
    Unreachable { permanent: !why.is_temporary(), why: words, host: None }
}

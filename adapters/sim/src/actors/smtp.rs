//! Sends mail: from outside on port 25, or with a login; one line after the other, or all at once.

use std::collections::VecDeque;

use postier_core::server::Service;
use postier_core::wire::base64;

use super::{Acts, Cx, Wish};
use crate::ledger::{FlagBits, Options, Place};
use crate::message::{Token, dot_stuffed};
use crate::network::Packet;
use crate::plant::Plant;
use crate::rng::Rng;
use crate::scenario::{ACCOUNTS, AFAR, DOMAIN, Manner, Step, WRITER};

/// No answer takes longer: the commit's limit of 10 minutes and a bit.
const PATIENCE: u64 = 700_000_000;

/// What a reply is awaited for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Greeting,
    Ehlo,
    StartTls,
    Auth,
    From,
    To(Target),
    Data,
    Message,
    Reset,
    Quit,
}

/// Where a recipient's mail goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Target {
    /// To these accounts,
    accounts: Vec<usize>,
    /// and to this address elsewhere, with what the sender wants to be told.
    remote: Option<(String, Options)>,
}

impl Target {
    fn is_nobody(&self) -> bool {
        self.accounts.is_empty() && self.remote.is_none()
    }
}

/// A mail on its way.
#[derive(Debug)]
struct Mail {
    token: Token,
    /// Accounts that were accepted.
    accepted: Vec<usize>,
    /// Addresses elsewhere that were accepted.
    remote: Vec<(String, Options)>,
    reverse_path: String,
    lines: VecDeque<(String, Asked)>,
    /// The connection breaks in the middle of the text.
    breaks: bool,
    sent: bool,
}

/// See the module's manual.
#[derive(Debug)]
pub struct SmtpClient {
    login: Option<usize>,
    /// It writes to so many domains elsewhere.
    domains: usize,
    manner: Manner,
    steps: VecDeque<Step>,
    connected: bool,
    tls: bool,
    asked: VecDeque<Asked>,
    asked_at: u64,
    buffer: Vec<u8>,
    mail: Option<Mail>,
}

impl SmtpClient {
    /// One that will send a mail for each step.
    pub fn new(login: Option<usize>, domains: usize, manner: Manner, steps: VecDeque<Step>) -> Self {
        let (asked, buffer) = (VecDeque::new(), Vec::new());
        SmtpClient {
            login,
            domains,
            manner,
            steps,
            connected: false,
            tls: false,
            asked,
            asked_at: 0,
            buffer,
            mail: None,
        }
    }

    fn service(&self) -> Service {
        match (self.login, self.manner.implicit_tls) {
            (None, _) => Service::Smtp,
            (Some(_), true) => Service::Submissions,
            (Some(_), false) => Service::Submission,
        }
    }

    fn ask(&mut self, line: &str, asked: Asked, cx: &mut Cx<'_>) {
        let line =
            if self.manner.sloppy && cx.rng.chance(50) { line.to_lowercase() } else { line.to_owned() };
        cx.send(format!("{line}\r\n").as_bytes());
        self.asked.push_back(asked);
        self.asked_at = cx.env.now;
        cx.wishes.push(Wish::Wake(PATIENCE));
    }

    fn next_mail(&mut self, cx: &mut Cx<'_>) {
        let Some(step) = self.steps.pop_front() else {
            return self.ask("QUIT", Asked::Quit, cx);
        };
        let mut rng = Rng::new(step.dice);
        let token = Token(rng.bits());
        let mut lines = VecDeque::new();
        let reverse_path = match self.login {
            Some(account) => format!("{}@{DOMAIN}", account_name(account)),
            None if self.domains > 0 => format!("ok.stranger@d{}.test", rng.index(self.domains)),
            None => format!("stranger{}@elsewhere.test", rng.below(100)),
        };
        // As if the server had never heard them.
        let deaf = cx.env.planted.is(Plant::ForgetDsnOptions);
        let hears = |words: String| if deaf { String::new() } else { words };
        let words = match self.domains {
            0 => String::new(),
            _ => hears(Options::draw(step.dice, token, "").mail_words()),
        };
        lines.push_back((format!("MAIL FROM:<{reverse_path}>{words}"), Asked::From));
        for _ in 0..rng.between(1, 4) {
            let (address, mut target) =
                if self.domains > 0 { self.elsewhere(token, &mut rng) } else { local(&mut rng) };
            let mut words = String::new();
            if let Some((_, options)) = &mut target.remote {
                *options = Options::draw(step.dice, token, &address);
                words = hears(options.recipient_words());
            }
            lines.push_back((format!("RCPT TO:<{address}>{words}"), Asked::To(target)));
        }
        lines.push_back(("DATA".into(), Asked::Data));
        let breaks = rng.chance(7);
        self.mail = Some(Mail {
            token,
            accepted: Vec::new(),
            remote: Vec::new(),
            reverse_path,
            lines,
            breaks,
            sent: false,
        });
        self.next_line(cx);
    }

    /// A recipient elsewhere, or one of ours whose mail goes there.
    fn elsewhere(&self, token: Token, rng: &mut Rng) -> (String, Target) {
        if self.login.is_none() {
            let (name, address) = *rng.pick(&AFAR);
            let target =
                Target { accounts: Vec::new(), remote: Some((address.to_owned(), Options::default())) };
            return (format!("{name}@{DOMAIN}"), target);
        }
        if rng.chance(10) {
            return local(rng);
        }
        let kind = *rng.pick(&["ok", "ok", "ok", "ok", "ok", "grey", "grey", "no", "never"]);
        let address = format!("{kind}.{:016x}@d{}.test", token.0, rng.index(self.domains));
        let remote = Some((address.clone(), Options::default()));
        (address, Target { accounts: Vec::new(), remote })
    }

    fn next_line(&mut self, cx: &mut Cx<'_>) {
        let all = self.manner.sloppy;
        while let Some((line, asked)) = self.mail.as_mut().and_then(|mail| mail.lines.pop_front()) {
            self.ask(&line, asked, cx);
            if !all {
                return;
            }
        }
    }

    fn send_message(&mut self, cx: &mut Cx<'_>) {
        let Some(mail) = &mut self.mail else { return };
        let text = dot_stuffed(&mail.token.text());
        if mail.breaks {
            cx.send(&text[..text.len() / 2]);
            cx.wishes.push(Wish::Leave);
            return self.gone(cx);
        }
        for account in &mail.accepted {
            let inbox = Place { account: *account, folder: "INBOX".into() };
            cx.env.ledger.may_arrive(&inbox, mail.token, FlagBits::default());
        }
        for (address, options) in &mail.remote {
            let now = cx.env.now().wall.secs;
            cx.env.ledger.post.ask(mail.token, address, &mail.reverse_path, options.clone(), now);
        }
        mail.sent = true;
        cx.send(&text);
        self.asked.push_back(Asked::Message);
        self.asked_at = cx.env.now;
        cx.wishes.push(Wish::Wake(PATIENCE));
    }

    fn reply(&mut self, code: u16, text: &str, cx: &mut Cx<'_>) {
        let Some(asked) = self.asked.pop_front() else {
            // 421 may come at any time (RFC 5321 §3.8).
            if code != 421 {
                cx.env.ledger.violation(format!("SMTP reply {code} to nothing"));
            }
            return;
        };
        let wanted = match asked {
            Asked::Greeting | Asked::StartTls => 220,
            Asked::Auth => 235,
            Asked::Data => 354,
            Asked::Quit => 221,
            Asked::Ehlo | Asked::From | Asked::To(_) | Asked::Message | Asked::Reset => 250,
        };
        let good = code == wanted;
        let refused = matches!(&asked, Asked::To(target) if target.is_nobody())
            || (asked == Asked::Data
                && self.mail.as_ref().is_some_and(|mail| mail.accepted.is_empty() && mail.remote.is_empty()));
        if cx.env.calm && good == refused && code != 421 {
            cx.env.ledger.violation(format!("SMTP reply {code} {text} to {asked:?}"));
        }
        match asked {
            Asked::Greeting => self.ask("EHLO client.test", Asked::Ehlo, cx),
            Asked::Ehlo if !self.tls && (self.login.is_some() || self.manner.implicit_tls) => {
                self.ask("STARTTLS", Asked::StartTls, cx);
            }
            Asked::Ehlo => self.log_in(cx),
            Asked::StartTls if good => cx.wishes.push(Wish::Send(Packet::Tls)),
            Asked::Auth if good => self.next_mail(cx),
            Asked::StartTls | Asked::Auth => self.ask("QUIT", Asked::Quit, cx),
            Asked::From => self.next_line(cx),
            Asked::To(Target { accounts, remote }) => {
                if good && let Some(mail) = &mut self.mail {
                    for account in accounts {
                        if !mail.accepted.contains(&account) {
                            mail.accepted.push(account);
                        }
                    }
                    let new = remote.filter(|remote| !mail.remote.contains(remote));
                    mail.remote.extend(new);
                }
                self.next_line(cx);
            }
            Asked::Data if good => self.send_message(cx),
            Asked::Data => self.ask("RSET", Asked::Reset, cx),
            Asked::Reset => self.pause(cx),
            Asked::Message => {
                if good && let Some(mail) = &self.mail {
                    for account in &mail.accepted {
                        let inbox = Place { account: *account, folder: "INBOX".into() };
                        cx.env.ledger.has_arrived(&inbox, mail.token);
                    }
                    for (address, _) in &mail.remote {
                        cx.env.ledger.post.promise(mail.token, address);
                    }
                }
                self.pause(cx);
            }
            Asked::Quit => {}
        }
    }

    /// Between two mails.
    fn pause(&mut self, cx: &mut Cx<'_>) {
        self.mail = None;
        cx.wake_ms(self.steps.front().map_or(1, |step| step.pause_ms));
    }

    fn log_in(&mut self, cx: &mut Cx<'_>) {
        let Some(account) = self.login else { return self.next_mail(cx) };
        let name = account_name(account);
        let response = base64::encode(format!("\0{name}@{DOMAIN}\0pw-{name}").as_bytes());
        let line = format!("AUTH PLAIN {response}");
        // Case matters here.
        cx.send(format!("{line}\r\n").as_bytes());
        self.asked.push_back(Asked::Auth);
        self.asked_at = cx.env.now;
        cx.wishes.push(Wish::Wake(PATIENCE));
    }

    fn gone(&mut self, cx: &mut Cx<'_>) {
        (self.connected, self.tls, self.mail) = (false, false, None);
        self.asked.clear();
        self.buffer.clear();
        let wait = cx.rng.between(100, 8_000);
        cx.wake_ms(wait);
    }

    fn cut_reply(&mut self) -> Result<Option<(u16, String)>, String> {
        let mut code = None;
        let mut at = 0;
        loop {
            let rest = &self.buffer[at..];
            let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
            let line = &rest[..end];
            let text = String::from_utf8_lossy(line).into_owned();
            let digits =
                line.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u16>().ok());
            let this =
                digits.filter(|code| (200..600).contains(code)).ok_or(format!("SMTP reply {text:?}"))?;
            if code.is_some_and(|code| code != this)
                || line.iter().any(|byte| *byte < b' ')
                || line.len() > 510
            {
                return Err(format!("SMTP reply {text:?}"));
            }
            code = Some(this);
            at += end + 2;
            match line.get(3) {
                Some(b'-') => {}
                Some(b' ') => {
                    self.buffer.drain(..at);
                    return Ok(Some((this, text.get(4..).unwrap_or_default().to_owned())));
                }
                Some(_) | None => return Err(format!("SMTP reply {text:?}")),
            }
        }
    }
}

fn account_name(account: usize) -> &'static str {
    ACCOUNTS.get(account).copied().unwrap_or(WRITER)
}

/// A recipient of ours, or nobody.
fn local(rng: &mut Rng) -> (String, Target) {
    let (name, accounts) = match rng.below(10) {
        0..5 => (ACCOUNTS[0], vec![0]),
        5..7 => (ACCOUNTS[1], vec![1]),
        7..9 => ("both", vec![0, 1]),
        _ => ("nobody", vec![]),
    };
    (format!("{name}@{DOMAIN}"), Target { accounts, remote: None })
}

impl Acts for SmtpClient {
    fn wake(&mut self, cx: &mut Cx<'_>) {
        if !self.connected {
            if self.steps.is_empty() {
                return;
            }
            (self.connected, self.asked_at) = (true, cx.env.now);
            cx.wishes.push(Wish::Connect(self.service()));
            if self.service().implicit_tls() {
                self.tls = true;
                cx.wishes.push(Wish::Send(Packet::Tls));
            }
            self.asked.push_back(Asked::Greeting);
            return cx.wishes.push(Wish::Wake(PATIENCE));
        }
        if self.asked.is_empty() {
            return self.next_mail(cx);
        }
        if cx.env.now >= self.asked_at + PATIENCE {
            cx.env.ledger.violation(format!(
                "no SMTP reply to {:?} for {} s",
                self.asked,
                PATIENCE / 1_000_000
            ));
            cx.wishes.push(Wish::Leave);
            self.gone(cx);
        }
    }

    fn hear(&mut self, octets: &[u8], cx: &mut Cx<'_>) {
        self.buffer.extend_from_slice(octets);
        loop {
            match self.cut_reply() {
                Ok(Some((code, text))) => self.reply(code, &text, cx),
                Ok(None) => return,
                Err(wrong) => {
                    cx.env.ledger.violation(wrong);
                    return self.buffer.clear();
                }
            }
        }
    }

    fn tls_done(&mut self, cx: &mut Cx<'_>) {
        if !self.service().implicit_tls() {
            self.tls = true;
            self.ask("EHLO client.test", Asked::Ehlo, cx);
        }
    }

    fn closed(&mut self, cx: &mut Cx<'_>) {
        self.gone(cx);
    }

    fn is_done(&self) -> bool {
        self.steps.is_empty() && !self.connected
    }
}

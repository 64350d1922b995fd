//! SORT, THREAD and the collation of SEARCH beside Dovecot's, on one Maildir of odd mails: each answer is the same.
//!
//! The mails differ in all that these look at: who answers whom and what of it is missing, subjects with what mailers
//! put before and behind them, names with and without encoded words, dates that are none.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::harness::{Dovecot, Server};

const SUBJECTS: &[&str] = &[
    "Apfel",
    "äpfel",
    "Zebra",
    "zebra",
    "[list] news",
    "Re: news",
    "RE: [list] news",
    "fwd: Apfel",
    "(fwd)",
    "news (fwd)",
    "[fwd: news]",
    "Re[2]: Zebra",
    "re: re: x",
    "",
    "[a] [b]",
    "=?utf-8?q?=C3=84pfel?=",
    "=?iso-8859-1?q?Stra=DFe?=",
    "STRASSE",
    "AW: x",
    "  x\ty ",
    "Re: ",
    "Ｆｕｌｌ",
    "full",
];
const NAMES: &[&str] = &[
    "zoe@a.test",
    "\"Adam A\" <x@a.test>",
    "=?utf-8?q?=C3=84dam?= <b@a.test>",
    "Friends: q@x.test, r@x.test;",
    "joe@x.test (Joe)",
    "",
    "<only@x.test>",
    "\"Ünder\" <u@x.test>",
    "BOB@x.test",
    "bob@x.test",
    "undisclosed-recipients:;",
];
const ZONES: &[&str] = &["+0000", "-0500", "+0900", "GMT", "EST"];

/// Numbers that look drawn and are the same every time.
struct Lot(u64);

impl Lot {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn of<'l>(&mut self, list: &[&'l str]) -> &'l str {
        list[self.below(list.len())]
    }

    /// One in so many times nothing.
    fn maybe(&mut self, one_in: usize, line: String) -> String {
        if self.below(one_in) == 0 { String::new() } else { line }
    }

    fn mail(&mut self, number: usize) -> String {
        let (from, to, cc) = (self.of(NAMES), self.of(NAMES), self.of(NAMES));
        let subject = self.of(SUBJECTS);
        let (day, hour, zone) = (1 + self.below(27), self.below(24), self.of(ZONES));
        let date = match self.below(9) {
            0 => "nonsense".to_owned(),
            _ => format!("Mon, {day} Nov 2026 {hour:02}:30:00 {zone}"),
        };
        let id = match self.below(12) {
            0 => format!("<{}@x>", self.below(number + 1)),
            1 => "<bad>".into(),
            2 => format!("<\"{number}\"@x>"),
            _ => format!("<{number}@x>"),
        };
        let count = self.below(5);
        let ancestors: Vec<String> = (0..count)
            .map(|_| match self.below(4) {
                0 => format!("<missing{}@y>", self.below(6)),
                _ => format!("<{}@x>", self.below(number.max(1))),
            })
            .collect();
        let answers = match (self.below(5), ancestors.first()) {
            (0..=2, Some(_)) => format!("References: {}\n", ancestors.join("\n ")),
            (3, Some(first)) => format!("In-Reply-To: your mail {first} of <joe@x>\n"),
            _ => String::new(),
        };
        [
            format!("From: {from}\n"),
            self.maybe(9, format!("To: {to}\n")),
            self.maybe(2, format!("Cc: {cc}\n")),
            self.maybe(15, format!("Subject: {subject}\n")),
            self.maybe(9, format!("Date: {date}\n")),
            self.maybe(15, format!("Message-ID: {id}\n")),
            answers,
            format!("\n{}\n", "x".repeat(self.below(50))),
        ]
        .concat()
    }
}

#[test]
#[ignore = "needs dovecot-imapd"]
fn sorted_and_threaded_as_by_dovecot() {
    let (site, user) = Dovecot::site();
    let server = Server::start(&site);
    // Makes the Maildir.
    server.imap("ann").ok("SELECT INBOX");
    let mut lot = Lot(4711);
    for number in 0..400 {
        let path =
            site.maildir("ann").join("cur").join(format!("{}.{number:04}.odd:2,", 1_700_000_000 + number));
        fs::write(&path, lot.mail(number)).unwrap();
        let arrived =
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + 86_400 * lot.below(40) as u64);
        fs::File::options().write(true).open(&path).unwrap().set_modified(arrived).unwrap();
    }
    let (mut ours, mut theirs) = (server.imap("ann"), Dovecot::start(&site, &user));
    ours.ok("SELECT INBOX");
    theirs.imap.ok("SELECT INBOX");
    for command in [
        "UID SEARCH ALL",
        "UID SEARCH SUBJECT ÄPFEL",
        "UID SEARCH FROM ünder",
        "SORT (ARRIVAL) UTF-8 ALL",
        "SORT (DATE) UTF-8 ALL",
        "SORT (SIZE) UTF-8 ALL",
        "SORT (SUBJECT) UTF-8 ALL",
        "SORT (FROM) UTF-8 ALL",
        "SORT (TO) UTF-8 ALL",
        "SORT (CC) UTF-8 ALL",
        "SORT (DISPLAYFROM) UTF-8 ALL",
        "SORT (DISPLAYTO) UTF-8 ALL",
        "UID SORT (REVERSE SUBJECT REVERSE DATE) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "UID THREAD REFERENCES UTF-8 NOT SUBJECT news",
        "THREAD ORDEREDSUBJECT UTF-8 ALL",
    ] {
        // A text that is not ASCII goes as a literal.
        let command = match command.rsplit_once(' ') {
            Some((start, text)) if !text.is_ascii() => format!("{start} {{{}+}}\r\n{text}", text.len()),
            Some(_) | None => command.to_owned(),
        };
        let told = |lines: Vec<String>| -> Vec<String> {
            let is_told =
                |line: &String| ["SEARCH", "SORT", "THREAD"].iter().any(|word| line.starts_with(word));
            lines.into_iter().filter(is_told).collect()
        };
        let ours = told(ours.ok(&command));
        assert_eq!(ours.len(), 1, "{command}");
        assert_eq!(ours, told(theirs.imap.ok(&command)), "{command}");
    }
}

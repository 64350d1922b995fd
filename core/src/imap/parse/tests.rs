use super::*;

use crate::imap::command::*;
use crate::imap::fetch::{Fetch, FetchItem, FetchSection, Partial, Section, SectionKind};
use crate::imap::flag::{FlagSet, SystemFlag};
use crate::imap::search::{PartialRange, SEARCH_DEPTH_MAX, Search, SearchKey, SearchReturn};
use crate::imap::sequence::SequenceSet;
use crate::mime::date::{days_from_civil, parse_internaldate};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use proptest::prelude::*;

fn body(text: &str) -> CommandBody<'_> {
    let command = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(command.tag, b"a");
    command.body
}

fn wrong(text: &str) -> String {
    let error = parse(text.as_bytes()).map(|command| format!("{command:?}")).expect_err(text);
    error.to_string()
}

fn set(text: &str) -> SequenceSet {
    SequenceSet::parse(text.as_bytes()).expect("a set")
}

fn name(text: &str) -> MailboxName {
    MailboxName::new(text)
}

fn fetch(text: &str) -> Fetch {
    match body(text) {
        CommandBody::Fetch(fetch) => fetch,
        other => panic!("{other:?}"),
    }
}

fn search(text: &str) -> Search {
    match body(text) {
        CommandBody::Search(search) => *search,
        other => panic!("{other:?}"),
    }
}

fn list(text: &str) -> List<'_> {
    match body(text) {
        CommandBody::List(list) => list,
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_of_one_word() {
    let bodies = [
        ("CAPABILITY", CommandBody::Capability),
        ("noop", CommandBody::Noop),
        ("LOGOUT", CommandBody::Logout),
        ("STARTTLS", CommandBody::StartTls),
        ("NAMESPACE", CommandBody::Namespace),
        ("IDLE", CommandBody::Idle),
        ("CHECK", CommandBody::Check),
        ("CLOSE", CommandBody::Close),
        ("UNSELECT", CommandBody::Unselect),
        ("Expunge", CommandBody::Expunge { uids: None }),
    ];
    for (word, expected) in bodies {
        for end in ["", "\n", "\r\n", " \r\n"] {
            assert_eq!(body(&format!("a {word}{end}")), expected);
        }
        let wrong = wrong(&format!("a {word} x\r\n"));
        assert!(wrong.ends_with("expected the end of the command, found \" x\""), "{wrong}");
    }
}

#[test]
fn login_in_all_spellings() {
    let expected =
        || CommandBody::Login { username: b"smith"[..].into(), password: Secret(b"se\"s]me"[..].into()) };
    assert_eq!(body("a LOGIN smith \"se\\\"s]me\"\r\n"), expected());
    assert_eq!(body("a LOGIN {5}\r\nsmith {7+}\r\nse\"s]me\r\n"), expected());
    assert_eq!(body("a login \"smith\" {7-}\r\nse\"s]me\r\n"), expected());
    let CommandBody::Login { username, password } = body("a LOGIN \"\" {0}\r\n\r\n") else { panic!() };
    assert!(username.is_empty() && password.0.is_empty());
    assert!(!format!("{:?}", parse(b"a LOGIN smith sesame\r\n")).contains("sesame"));
    // What is wrong may be the password: it is not shown.
    assert_eq!(wrong("a LOGIN smith (sesame)\r\n"), "LOGIN: expected a password");
}

#[test]
fn authenticate() {
    let CommandBody::Authenticate { mechanism, initial } = body("a AUTHENTICATE PLAIN\r\n") else { panic!() };
    assert_eq!((mechanism, initial), (&b"PLAIN"[..], None));
    let CommandBody::Authenticate { initial, .. } = body("a AUTHENTICATE PLAIN dGVz+/Q=\r\n") else {
        panic!()
    };
    assert_eq!(initial, Some(Secret(b"dGVz+/Q="[..].into())));
    let CommandBody::Authenticate { initial, .. } = body("a AUTHENTICATE EXTERNAL =\r\n") else { panic!() };
    assert_eq!(initial, Some(Secret(b"="[..].into())));
}

#[test]
fn id_and_enable() {
    let CommandBody::Id { fields } = body("a ID (\"name\" \"sodr\" \"version\" NIL)\r\n") else { panic!() };
    assert_eq!(fields, [(b"name"[..].into(), Some(b"sodr"[..].into())), (b"version"[..].into(), None)]);
    assert_eq!(body("a ID NIL\r\n"), CommandBody::Id { fields: vec![] });
    assert_eq!(body("a ID ()\r\n"), CommandBody::Id { fields: vec![] });
    let CommandBody::Enable { capabilities } = body("a ENABLE CONDSTORE X-GOOD\r\n") else { panic!() };
    assert_eq!(capabilities, [&b"CONDSTORE"[..], b"X-GOOD"]);
    wrong("a ENABLE\r\n");
    wrong("a ID (\"name\")\r\n");
}

#[test]
fn mailboxes() {
    let select = |mailbox, read_only, condstore| {
        CommandBody::Select(Select { mailbox, read_only, condstore, resync: None })
    };
    assert_eq!(body("a SELECT iNbOx\r\n"), select(MailboxName::inbox(), false, false));
    assert_eq!(body("a EXAMINE \"a b\"\r\n"), select(name("a b"), true, false));
    assert_eq!(body("a SELECT b (condstore)\r\n"), select(name("b"), false, true));
    assert_eq!(body("a DELETE &AOk-\r\n"), CommandBody::Delete { mailbox: name("&AOk-") });
    assert_eq!(body("a RENAME a {1}\r\nb\r\n"), CommandBody::Rename { from: name("a"), to: name("b") });
    assert_eq!(body("a SUBSCRIBE #news\r\n"), CommandBody::Subscribe { mailbox: name("#news") });
    assert_eq!(body("a UNSUBSCRIBE x]\r\n"), CommandBody::Unsubscribe { mailbox: name("x]") });
    let create = |mailbox: &str, special_use, unknown_use| CommandBody::Create {
        mailbox: name(mailbox),
        special_use,
        unknown_use,
    };
    assert_eq!(body("a CREATE owatagusiam/\r\n"), create("owatagusiam/", vec![], false));
    let uses = vec![SpecialUse::Drafts, SpecialUse::Sent];
    assert_eq!(body("a CREATE m (USE (\\Sent \\drafts))\r\n"), create("m", uses, false));
    assert_eq!(body("a CREATE m (USE (\\Other))\r\n"), create("m", vec![], true));
    assert_eq!(body("a CREATE m (USE ())\r\n"), create("m", vec![], false));
    wrong("a CREATE m (USE (Sent))\r\n");
    wrong("a SELECT\r\n");
    wrong("a SELECT a b\r\n");
    assert_eq!(wrong("a SELECT m (MODSEQ)\r\n"), "SELECT: expected CONDSTORE or QRESYNC, found \"MODSEQ)\"");
    let items = vec![StatusItem::UidNext, StatusItem::Messages];
    assert_eq!(
        body("a STATUS blurdybloop (UIDNEXT MESSAGES uidnext)\r\n"),
        CommandBody::Status { mailbox: name("blurdybloop"), items }
    );
    for item in StatusItem::ALL {
        let CommandBody::Status { items, .. } = body(&format!("a STATUS m ({})\r\n", item.name())) else {
            panic!("{item:?}")
        };
        assert_eq!(items, [item]);
    }
    wrong("a STATUS m ()\r\n");
    wrong("a STATUS m (LOWESTMODSEQ)\r\n");
}

#[test]
fn quota_commands() {
    let root = |text: &'static str| text.as_bytes().into();
    assert_eq!(body("a GETQUOTA \"\"\r\n"), CommandBody::GetQuota { root: root("") });
    assert_eq!(body("a getquota \"User quota\"\r\n"), CommandBody::GetQuota { root: root("User quota") });
    assert_eq!(body("a GETQUOTAROOT inbox\r\n"), CommandBody::GetQuotaRoot { mailbox: name("INBOX") });
    let set = CommandBody::SetQuota { root: root("x") };
    assert_eq!(body("a SETQUOTA x ()\r\n"), set);
    assert_eq!(body("a SETQUOTA x (STORAGE 9223372036854775807 MESSAGE 0)\r\n"), set);
    wrong("a SETQUOTA x (STORAGE)\r\n");
    wrong("a SETQUOTA x (STORAGE -1)\r\n");
    wrong("a SETQUOTA x\r\n");
    wrong("a GETQUOTA\r\n");
}

#[test]
fn list_plain_and_extended() {
    let plain = list("a LIST \"\" %\r\n");
    assert!(plain.reference.is_empty() && !plain.extended);
    assert_eq!(plain.patterns, [b"%"[..].to_vec()]);
    assert_eq!(list("a LIST /usr/staff/jones \"\"\r\n").patterns, [b"".to_vec()]);
    let many = list("a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (\"a*\" b%c]) RETURN (CHILDREN)\r\n");
    assert!(many.select.subscribed && many.select.recursive_match && !many.select.special_use);
    assert!(many.returns.children && !many.returns.subscribed && many.extended);
    assert_eq!(many.patterns, [b"a*".to_vec(), b"b%c]".to_vec()]);
    let status = list("a LIST \"\" % RETURN (STATUS (MESSAGES UNSEEN) SPECIAL-USE)\r\n");
    assert_eq!(status.returns.status, [StatusItem::Messages, StatusItem::Unseen]);
    assert!(status.returns.special_use);
    assert!(list("a LIST () \"\" %\r\n").extended);
    assert!(list("a LIST (SPECIAL-USE REMOTE) \"\" * RETURN ()\r\n").select.remote);
    let CommandBody::Lsub { pattern, .. } = body("a LSUB \"#news.\" \"comp.mail.*\"\r\n") else { panic!() };
    assert_eq!(&*pattern, b"comp.mail.*");
    wrong("a LIST (RECURSIVEMATCH) \"\" *\r\n");
    wrong("a LIST (RECURSIVEMATCH REMOTE) \"\" *\r\n");
    wrong("a LIST (NOSUCH) \"\" *\r\n");
    wrong("a LIST \"\" ()\r\n");
    wrong("a LIST \"\" * RETURN\r\n");
    wrong(&format!("a LIST \"\" (x{})\r\n", " x".repeat(64)));
}

fn append(text: &str) -> Append<'_> {
    let CommandBody::Append(append) = body(text) else { panic!("{text}") };
    append
}

/// One word for each piece.
fn shown(pieces: &[AppendPiece<'_>]) -> String {
    let literal = |word: &str, literal: &LiteralHead| {
        format!(
            "{word}{}{}{}",
            literal.size,
            if literal.sync { "" } else { "+" },
            if literal.binary { "~" } else { "" }
        )
    };
    let word = |piece: &AppendPiece<'_>| match piece {
        AppendPiece::Message { joined: false, .. } => "message".to_string(),
        AppendPiece::Message { joined: true, .. } => "joined".to_string(),
        AppendPiece::Octets(head) => literal("octets", head),
        AppendPiece::UrlLiteral(head) => literal("url", head),
        AppendPiece::Url(url) => format!("url:{}", String::from_utf8_lossy(url)),
        AppendPiece::Joined => "end".to_string(),
    };
    pieces.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn append_in_pieces() {
    for (text, pieces) in [
        ("a APPEND m ~{7}\r\n", "message octets7~"),
        ("a APPEND m CATENATE (TEXT {5}\r\n", "joined octets5"),
        ("a APPEND m (\\Seen) catenate (url \"/a/;UID=1\" TEXT {5+}\r\n", "joined url:/a/;UID=1 octets5+"),
        ("a APPEND m CATENATE (URL {9}\r\n", "joined url9"),
        ("a APPEND m CATENATE (URL /a) (\\Seen) {3}\r\n", "joined url:/a end message octets3"),
        (
            "a APPEND m CATENATE (URL /a) CATENATE (URL /b URL /c)\r\n",
            "joined url:/a end joined url:/b url:/c end",
        ),
        ("a APPEND m UTF8 (~{7}\r\n", "joined octets7~"),
    ] {
        assert_eq!(shown(&append(text).pieces), pieces, "{text}");
    }
    for (joined, text, pieces) in [
        (false, "\r\n", Some("")),
        (false, " (\\Seen) {5}\r\n", Some("message octets5")),
        (false, " CATENATE (TEXT {5}\r\n", Some("joined octets5")),
        (false, ")\r\n", None),
        (false, "x\r\n", None),
        (true, ")\r\n", Some("end")),
        (true, " TEXT {3}\r\n", Some("octets3")),
        (true, " URL /a) {3}\r\n", Some("url:/a end message octets3")),
        (true, ") {3}\r\n", Some("end message octets3")),
        (true, "\r\n", None),
        (true, " TEXT {3} x\r\n", None),
    ] {
        let parsed = parse_append_rest(text.as_bytes(), joined).ok();
        assert_eq!(parsed.as_ref().map(|pieces| shown(pieces)).as_deref(), pieces, "{text}");
    }
    let replaced = append("a UID REPLACE 4 m {3}\r\n").replaces.unwrap();
    assert!(replaced.uid && replaced.set.to_string() == "4");
    assert!(append("a replace * m {3}\r\n").replaces.unwrap().set.has_star());
    for text in [
        "a REPLACE 0 m {3}\r\n",
        "a REPLACE 1:2 m {3}\r\n",
        "a REPLACE m {3}\r\n",
        "a REPLACE 1 m CATENATE (URL /a) {3}\r\n",
        "a APPEND m CATENATE ()\r\n",
        "a APPEND m CATENATE (URL /a\r\n",
        "a APPEND m CATENATE (TEXT hello)\r\n",
        "a APPEND m UTF8 (x)\r\n",
    ] {
        wrong(text);
    }
}

#[test]
fn append_head() {
    let append = append("a APPEND saved-messages (\\Seen $Work) \" 7-Feb-1994 21:52:25 -0830\" {310}\r\n");
    assert_eq!(append.mailbox, name("saved-messages"));
    let [AppendPiece::Message { flags, date, joined: false }, AppendPiece::Octets(literal)] =
        &append.pieces[..]
    else {
        panic!("{append:?}")
    };
    assert_eq!(flags.system, FlagSet::EMPTY.with(SystemFlag::Seen));
    assert_eq!(flags.keywords, ["$Work"]);
    assert_eq!(*date, parse_internaldate(b" 7-Feb-1994 21:52:25 -0830"));
    assert!(date.is_some_and(|date| date.offset_minutes == -510));
    assert_eq!(*literal, LiteralHead { size: 310, sync: true, binary: false });
    let CommandBody::Append(append) = body("a APPEND {5}\r\ninbox ~{7+}\r\n") else { panic!() };
    assert!(append.mailbox.is_inbox());
    assert_eq!(shown(&append.pieces), "message octets7+~");
    for text in [
        "a APPEND m\r\n",
        "a APPEND m (\\Seen)\r\n",
        "a APPEND m \"31-Apr-1994 21:52:25 -0830\" {1}\r\n",
        "a APPEND m \"01-Apr-1994 24:52:25 -0830\" {1}\r\n",
        "a APPEND m {1} {2}\r\n",
        "a APPEND m {18446744073709551616}\r\n",
    ] {
        wrong(text);
    }
}

#[test]
fn what_a_client_remembers() {
    let resync = |text: &str| match body(&format!("a SELECT INBOX (QRESYNC {text})\r\n")) {
        CommandBody::Select(select) => *select.resync.unwrap(),
        other => panic!("{other:?}"),
    };
    let set = |text: &str| SequenceSet::parse(text.as_bytes()).unwrap().resolve(u32::MAX);
    let plain = Resync { uid_validity: 67890007, modseq: 20050715194045000, known: None, matches: None };
    assert_eq!(resync("(67890007 20050715194045000)"), plain);
    let known = Resync { known: Some(set("41:211,214:541")), ..plain.clone() };
    assert_eq!(resync("(67890007 20050715194045000 41:211,214:541)"), known);
    let matches = Some((set("1,9"), set("41,57")));
    assert_eq!(
        resync("(67890007 20050715194045000 41:211,214:541 (1,9 41,57))"),
        Resync { matches: matches.clone(), ..known }
    );
    assert_eq!(resync("(67890007 20050715194045000 (1,9 41,57))"), Resync { matches, ..plain });
    for text in [
        "",
        "()",
        "(1)",
        "(1 2 *)",
        "(1 2 3:*)",
        "(1 2 $)",
        "(1 2 3 4)",
        "(1 2 (1))",
        "(1 2 (1 *))",
        "(1 2 3",
    ] {
        wrong(&format!("a SELECT INBOX (QRESYNC {text})\r\n"));
    }
    wrong("a SELECT INBOX (QRESYNC (1 2) QRESYNC (1 2))\r\n");
    wrong("a UID FETCH 1 FLAGS (VANISHED)\r\n");
    wrong("a FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)\r\n");
}

#[test]
fn mod_sequences() {
    let since = |text: &str| match body(text) {
        CommandBody::Fetch(fetch) => (fetch.changed_since, fetch.partial.is_some()),
        CommandBody::Store(store) => (store.unchanged_since, store.silent),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        since("a FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775807)\r\n"),
        (Some(i64::MAX as u64), false)
    );
    assert_eq!(since("a UID FETCH 1 FLAGS (CHANGEDSINCE 5 PARTIAL 1:2)\r\n"), (Some(5), true));
    assert_eq!(since("a STORE 1 (UNCHANGEDSINCE 0) +FLAGS.SILENT \\Seen\r\n"), (Some(0), true));
    assert_eq!(since("a UID STORE 1 (unchangedsince 7) FLAGS ()\r\n"), (Some(7), false));
    for text in ["MODSEQ 7", "MODSEQ \"/flags/\\\\draft\" all 7", "MODSEQ \"/flags/x\" PRIV 7"] {
        let search = search(&format!("a SEARCH {text}\r\n"));
        assert!(search.modseq && search.key == SearchKey::ModSeq(7), "{search:?}");
    }
    assert!(search("a SEARCH OR SEEN NOT (MODSEQ 1 DRAFT)\r\n").modseq && !search("a SEARCH ALL\r\n").modseq);
    wrong("a FETCH 1 FLAGS (CHANGEDSINCE)\r\n");
    wrong("a FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)\r\n");
    wrong("a STORE 1 () FLAGS ()\r\n x");
    wrong("a STORE 1 (UNCHANGEDSINCE 1 UNCHANGEDSINCE 1) FLAGS ()\r\n");
    wrong("a STORE 1 (UNCHANGEDSINCE 1)\r\n");
    wrong("a SEARCH MODSEQ \"/flags/x\" 7\r\n");
}

#[test]
fn store_and_its_sisters() {
    let CommandBody::Store(store) = body("a STORE 2:4 +FLAGS (\\Deleted)\r\n") else { panic!() };
    assert_eq!((store.uid, store.set, store.mode, store.silent), (false, set("2:4"), StoreMode::Add, false));
    assert_eq!(store.flags.system, FlagSet::EMPTY.with(SystemFlag::Deleted));
    let CommandBody::Store(store) = body("a UID STORE 1 -flags.silent \\seen $A $a \\Recent\r\n") else {
        panic!()
    };
    assert_eq!((store.uid, store.mode, store.silent), (true, StoreMode::Remove, true));
    assert_eq!(store.flags.keywords, ["$A"]);
    assert_eq!(store.flags.into_owned().iter().count(), 2);
    let CommandBody::Store(store) = body("a STORE 1 FLAGS ()\r\n") else { panic!() };
    assert!(store.mode == StoreMode::Replace && store.flags.is_empty());
    assert_eq!(
        body("a COPY 2:4 MEETING\r\n"),
        CommandBody::Copy { uid: false, set: set("2:4"), mailbox: name("MEETING") }
    );
    assert_eq!(
        body("a UID MOVE 42 foo\r\n"),
        CommandBody::Move { uid: true, set: set("42"), mailbox: name("foo") }
    );
    assert_eq!(body("a UID EXPUNGE 3000:3002\r\n"), CommandBody::Expunge { uids: Some(set("3000:3002")) });
    for text in [
        "a STORE 1 FLAGS\r\n",
        "a STORE 1 +-FLAGS x\r\n",
        "a APPEND m \"01-Apr-1994 20:52:25 -+0830\" {1}\r\n",
        "a STORE 1 FLAGS (\\Other)\r\n",
        "a STORE 1 FLAGS (a  b)\r\n",
        "a STORE 0 FLAGS (a)\r\n",
        "a UID NOOP\r\n",
        "a UID\r\n",
    ] {
        wrong(text);
    }
    let many: String = (0..65).map(|n| format!(" k{n}")).collect();
    assert!(wrong(&format!("a STORE 1 FLAGS{many}\r\n")).contains("fewer keywords"));
}

#[test]
fn fetch_items() {
    let fast = [FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size];
    assert_eq!(fetch("a FETCH 1:* fast\r\n").items, fast);
    assert_eq!(fetch("a FETCH 1 ALL\r\n").items.len(), 4);
    assert_eq!(fetch("a FETCH 1 FULL\r\n").items.last(), Some(&FetchItem::Body));
    let asked = fetch("a FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE \"FROM\")])\r\n");
    assert!(!asked.uid && asked.set == set("2:4") && asked.items[1].wants_seen());
    let section = |part: &[u32], kind| Section { part: part.to_vec(), kind };
    let items =
        fetch("a UID FETCH 1 (BODY.PEEK[4.2.MIME]<5.10> BODY[] BODY[1.TEXT] BODY[2] body[header])\r\n").items;
    let expected = [
        (true, section(&[4, 2], SectionKind::Mime), Some(Partial { offset: 5, length: 10 })),
        (false, section(&[], SectionKind::Full), None),
        (false, section(&[1], SectionKind::Text), None),
        (false, section(&[2], SectionKind::Full), None),
        (false, section(&[], SectionKind::Header), None),
    ];
    let expected =
        expected.map(|(peek, section, partial)| FetchItem::Section(FetchSection { peek, section, partial }));
    assert_eq!(items, expected);
    for text in [
        "a FETCH 1 ()\r\n",
        "a FETCH 1 (ALL)\r\n",
        "a FETCH 1 BODY[MIME]\r\n",
        "a FETCH 1 BODY[0]\r\n",
        "a FETCH 1 BODY[1.]\r\n",
        "a FETCH 1 BODY[]<1.0>\r\n",
        "a FETCH 1 BODY[]<1>\r\n",
        "a FETCH 1 BODY.PEEK\r\n",
        "a FETCH 1 BODY[HEADER.FIELDS ()]\r\n",
        "a FETCH 1 BODY[HEADER.FIELDS (\"a b\")]\r\n",
        "a FETCH 1 BODY[HEADER.FIELDS (a  b)]\r\n",
        "a FETCH 1 BODY[HEADER.FIELDS (a b )]\r\n",
        "a FETCH 1 BODY[HEADER.FIELDS ( a)]\r\n",
        "a FETCH 1 RFC822[]\r\n",
        "a FETCH 1 (FLAGS UID\r\n",
        "a FETCH 1 (FLAGS  UID)\r\n",
    ] {
        wrong(text);
    }
}

#[test]
fn fetch_names_come_back_in_responses() {
    let names = [
        "FLAGS",
        "UID",
        "INTERNALDATE",
        "RFC822.SIZE",
        "ENVELOPE",
        "BODY",
        "BODYSTRUCTURE",
        "RFC822",
        "RFC822.HEADER",
        "RFC822.TEXT",
        "BODY[]",
        "BODY[1.2.3]",
        "BODY[HEADER]",
        "BODY[3.TEXT]",
        "BODY[1.MIME]",
        "BODY[HEADER.FIELDS (DATE FROM)]",
        "BODY[2.HEADER.FIELDS.NOT (x-y)]",
    ];
    for name in names {
        let mut out = Vec::new();
        fetch(&format!("a FETCH 1 {name}\r\n")).items[0].write_name(&mut out);
        assert_eq!(out, name.as_bytes());
    }
    let quoted = fetch("a FETCH 1 BODY[HEADER.FIELDS (Date \"From\")]\r\n");
    assert_eq!(quoted, fetch("a FETCH 1 BODY[HEADER.FIELDS (Date From)]\r\n"));
    let mut out = Vec::new();
    fetch("a FETCH 1 BODY.PEEK[HEADER.FIELDS (\"a(b\")]<0.7>\r\n").items[0].write_name(&mut out);
    assert_eq!(out, b"BODY[HEADER.FIELDS (\"a(b\")]<0>");
}

#[test]
fn search_examples() {
    let asked = search("a SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"\r\n");
    let since = SearchKey::Since(days_from_civil(1994, 2, 1));
    let not_from = SearchKey::Not(Box::new(SearchKey::From("Smith".into())));
    assert_eq!(asked.key, SearchKey::And(vec![SearchKey::Flagged, since, not_from]));
    assert!(asked.returns.is_none() && asked.unknown_charset.is_none() && !asked.uid);
    let asked = search("a UID SEARCH RETURN (MIN COUNT SAVE) 1:3,* UID 7 UNKEYWORD $x\r\n");
    assert_eq!(
        asked.returns,
        Some(SearchReturn { min: true, count: true, save: true, ..Default::default() })
    );
    let paged = search("a SEARCH RETURN (PARTIAL -1:-50 COUNT) $\r\n");
    assert_eq!(paged.returns.unwrap().partial, Some(PartialRange { from: 1, to: 50, newest: true }));
    assert_eq!(paged.key, SearchKey::Sequence(SequenceSet::SAVED));
    assert!(search("a SEARCH RETURN () ALL\r\n").returns.is_some_and(|returns| returns.all));
    let or = search("a SEARCH OR (DELETED LARGER 10) (OLDER 5)\r\n").key;
    let left = SearchKey::And(vec![SearchKey::Deleted, SearchKey::Larger(10)]);
    assert_eq!(or, SearchKey::Or(Box::new((left, SearchKey::Older(5)))));
    let header = search("a SEARCH HEADER Message-ID \"\"\r\n").key;
    assert_eq!(header, SearchKey::Header { name: "Message-ID".into(), text: String::new() });
    assert_eq!(
        search("a SEARCH SENTON \"29-feb-2000\"\r\n").key,
        SearchKey::SentOn(days_from_civil(2000, 2, 29))
    );
    for text in [
        "a SEARCH\r\n",
        "a SEARCH RETURN (MIN)\r\n",
        "a SEARCH OR SEEN\r\n",
        "a SEARCH ()\r\n",
        "a SEARCH (SEEN\r\n",
        "a SEARCH SEEN)\r\n",
        "a SEARCH ON 29-Feb-1900\r\n",
        "a SEARCH ON 0-Feb-1900\r\n",
        "a SEARCH YOUNGER 0\r\n",
        "a SEARCH NOSUCH\r\n",
    ] {
        wrong(text);
    }
}

#[test]
fn search_keys_lose_their_sequence_numbers() {
    let mut key = search("a SEARCH OR 2 NOT (1 UID 5:*) SEEN\r\n").key;
    key.resolve(
        &mut |set| set.resolve(9).iter().map(|n| n * 10).collect::<crate::imap::sequence::UidSet>().into(),
        &mut |set| set.resolve(7).into(),
    );
    assert_eq!(key, search("a SEARCH OR UID 20 NOT (UID 10 UID 5:7) SEEN\r\n").key);
}

#[test]
fn search_in_charsets() {
    let latin = parse(b"a SEARCH CHARSET iso-8859-1 TEXT {2}\r\n\xe9\xe8\r\n").expect("a command");
    let CommandBody::Search(latin) = latin.body else { panic!() };
    assert_eq!(latin.key, SearchKey::Text("éè".into()));
    assert_eq!(search("a SEARCH CHARSET UTF-8 TEXT \"é\"\r\n").key, SearchKey::Text("é".into()));
    assert_eq!(search("a SEARCH CHARSET utf-7 TEXT \"Gr+APw-n\"\r\n").key, SearchKey::Text("Grün".into()));
    assert!(parse(b"a SEARCH CHARSET UTF-7 TEXT +++\r\n").is_err());
    assert_eq!(search("a SEARCH CHARSET x-klingon TEXT a\r\n").unknown_charset.as_deref(), Some("x-klingon"));
    assert!(parse(b"a SEARCH TEXT {1}\r\n\xe9\r\n").is_err());
}

#[test]
fn search_is_not_a_way_to_the_end_of_the_stack() {
    let nested = |open: &str, times: usize, close: &str| {
        format!("a SEARCH {}ALL{}\r\n", open.repeat(times), close.repeat(times))
    };
    for (open, close) in [("NOT ", ""), ("(", ")"), ("OR ALL ", ""), ("OR ", " ALL")] {
        search(&nested(open, SEARCH_DEPTH_MAX, close));
        assert!(wrong(&nested(open, SEARCH_DEPTH_MAX + 1, close)).contains("nested at most 50"));
        wrong(&nested(open, 100_000, close));
    }
    search(&format!("a SEARCH ALL{}\r\n", " ALL".repeat(999)));
    wrong(&format!("a SEARCH ALL{}\r\n", " ALL".repeat(1000)));
}

#[test]
fn errors_say_what_and_where() {
    let error = parse(b"a7 FETCH ) FLAGS\r\n").expect_err("a parenthesis is no set");
    assert_eq!((error.tag, error.command), (Some(&b"a7"[..]), Some("FETCH")));
    assert_eq!(error.to_string(), "FETCH: expected a sequence set, found \") FLAGS\"");
    assert_eq!(wrong("a FROB x\r\n"), "expected an IMAP command, found \"FROB\"");
    assert_eq!(wrong("a\r\n"), "expected a space and more, found the end of the command");
    assert_eq!(parse(b"\r\n").expect_err("nothing").tag, None);
    assert_eq!(parse(b"+ NOOP\r\n").expect_err("a plus").tag, None);
    assert_eq!(wrong("a SELECT \"\r\n"), "SELECT: expected a closing quote, found the end of the command");
    assert!(wrong("a SELECT \x01\u{e9}\r\n").ends_with("found \"???\""));
    assert_eq!(tag_of(b"a7 LOGIN {999999}\r\n"), Some(&b"a7"[..]));
}

#[test]
fn literals_and_strings_that_lie() {
    for text in [
        "a SELECT {5}\r\nabc\r\n",
        "a SELECT {18446744073709551615}\r\nabc\r\n",
        "a SELECT {}\r\n\r\n",
        "a SELECT {3}abc\r\n",
        "a SELECT {3}\r\na\0c\r\n",
        "a SELECT \"a\0c\"\r\n",
        "a SELECT \"a\\\0\"\r\n",
        "a SELECT ~{3}\r\nabc\r\n",
        "a NO\0OP\r\n",
    ] {
        wrong(text);
    }
}

proptest! {
    #[test]
    fn any_octets(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = parse(&text) {
            let shown = error.to_string();
            prop_assert!(shown.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' '));
        }
    }

    #[test]
    fn almost_commands(
        words in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(vec![
                    "UID", "FETCH", "STORE", "SEARCH", "LIST", "APPEND", "STATUS", "CREATE", "LOGIN", "ID", "1:*",
                    "(", ")", "\"", "\\Seen", "+FLAGS", "FLAGS", "BODY[", "HEADER.FIELDS", "]", "<0.1>", "OR", "NOT",
                    "CHARSET", "UTF-8", "RETURN", "USE", "{1}\r\nx", "{9999}\r\n", "1-Jan-2000", "KEYWORD", "\"a\\\"b\"",
                ]).prop_map(String::from),
                "[ -~]{0,4}",
            ],
            0..12,
        ),
        glue in proptest::sample::select(vec![" ", ""]),
    ) {
        let _ = parse(format!("a {}\r\n", words.join(glue)).as_bytes());
    }

    #[test]
    fn strings_round_trip(text in proptest::collection::vec(1u8..=255, 0..40)) {
        let mut line = b"a DELETE ".to_vec();
        crate::imap::response::write_astring(&mut line, &text);
        line.extend_from_slice(b"\r\n");
        let command = parse(&line).expect("a command");
        prop_assert_eq!(command.body, CommandBody::Delete { mailbox: MailboxName::new(text) });
    }
}

use super::*;
use crate::imap::command::{CommandBody, parse};
use crate::imap::flag::FlagSet;
use crate::maildir::context::StoreErrorKind;
use crate::maildir::mailbox::Message;
use crate::maildir::memdisk::{MemDisk, root};
use crate::maildir::reader::Sizes;
use crate::wire::base64;
use alloc::vec;
use proptest::prelude::*;
use std::format;

/// 2026-11-24 00:00:00 UTC
const DAY: i64 = 1_795_478_400;

const ONE: &[u8] = b"From: =?utf-8?q?J=C3=BCrgen?= <j@x.test>\nTo: a@y.test,\n b@y.test\nCc: c@y.test\n\
    Subject: =?utf-8?b?R3LDvMOfZQ==?=\n from \t here\nDate: Tue, 24 Nov 2026 23:30:00 -0500\nX-Empty:\n\n\
    Plain body, two\nlines\n";

const TWO: &[u8] = b"From: Kim <k@x.test>\nDate: Wed, 1 Jan 2025 00:10:00 +0900\nBcc: secret@z.test\n\
    MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\npreamble\n--b\n\
    Content-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: base64\n\n8NLJ18XU\n--b\n\
    Content-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\
    Content-Description: The Label\n\n<b>Caf=E9 long=\nline</b>\n--b\nContent-Type: image/gif\n\nGIF89a\n--b\n\
    Content-Type: message/delivery-status\n\nAction: failed\n--b\n\
    Content-Type: message/rfc822\n\nSubject: =?us-ascii?q?nested_mail?=\n\ninside\n--b--\n";

/// Three messages; the second and third lie on the disk without sizes in their names.
fn world() -> (MemDisk, Scope) {
    let mut disk = MemDisk::with_maildir();
    let mut messages = Messages::default();
    let names = ["1.a,S=300,W=310:2,Sb", "2.a:2,FR", "3.a:2,DT"];
    for (index, (name, octets)) in names.iter().zip([ONE, TWO, b"no header\n\n"]).enumerate() {
        let path = format!("/m/cur/{name}");
        disk.put_file(&path, octets);
        disk.set_mtime(&path, (DAY + 86_400 * index as i64 + 7) * 1_000_000_000);
        let uid = 10 * (index as u32 + 1);
        let named = FlagSet::from_bits(u32::MAX);
        messages.push(Message::new(uid, name.as_bytes().into(), false, named, 1));
    }
    let keywords = Arc::new(vec![String::from("$Junk"), String::from("Work")]);
    let within = [10, 20, 30].into_iter().collect();
    let now = WallTime { secs: DAY + 2 * 86_400, micros: 0 };
    (disk, Scope { messages, keywords, within, now, ..Scope::default() })
}

fn query(text: &str) -> Arc<SearchQuery> {
    let line = format!("a UID SEARCH {text}\r\n");
    let CommandBody::Search(mut found) = parse(line.as_bytes()).expect(text).body else { panic!("{text}") };
    let uids = |set: &crate::imap::sequence::SequenceSet| set.resolve(30);
    found.key.resolve(&mut |set| uids(set).into(), &mut |set| uids(set).into());
    Arc::new(SearchQuery {
        key: found.key,
        recent: [30].into_iter().collect(),
        saved: [10, 30].into_iter().collect(),
    })
}

/// The answer, which is the same when the cache file begins and when it has the headers.
fn run(disk: &mut MemDisk, scope: &Scope, query: Arc<SearchQuery>) -> Result<Vec<u32>, StoreError> {
    let mut copy = disk.clone();
    let found = run_once(disk, scope, query.clone());
    if found.is_ok() && copy.fail_at.is_none() {
        let scope = Scope { cache: Some(Arc::default()), ..scope.clone() };
        for _ in 0..2 {
            assert_eq!(run_once(&mut copy, &scope, query.clone()), found);
        }
    }
    found
}

fn run_once(disk: &mut MemDisk, scope: &Scope, query: Arc<SearchQuery>) -> Result<Vec<u32>, StoreError> {
    let scope = scope.clone();
    let found = disk.run(vec![], |disk| search(disk, root(), FolderName::inbox(), scope, query));
    found.unwrap().map(|found| found.iter().collect())
}

#[test]
fn every_key() {
    let (mut disk, scope) = world();
    for (text, expected) in [
        ("ALL", &[10, 20, 30][..]),
        ("UID 15:*", &[20, 30]),
        ("SUBJECT \"from here\"", &[10]),
        ("BODY \"action: failed\"", &[20]),
        ("BODY GIF89a", &[]),
        ("10,30", &[10, 30]),
        ("$", &[10, 30]),
        ("NOT UID $", &[20]),
        ("SEEN", &[10]),
        ("UNSEEN", &[20, 30]),
        ("FLAGGED ANSWERED", &[20]),
        ("UNFLAGGED UNANSWERED", &[10, 30]),
        ("DRAFT DELETED", &[30]),
        ("UNDRAFT UNDELETED", &[10, 20]),
        ("RECENT", &[30]),
        ("NEW", &[30]),
        ("OLD", &[10, 20]),
        ("KEYWORD work", &[10]),
        ("KEYWORD $junk", &[]),
        ("KEYWORD other", &[]),
        ("UNKEYWORD WORK", &[20, 30]),
        ("UNKEYWORD other", &[10, 20, 30]),
        ("BEFORE 25-Nov-2026", &[10]),
        ("ON 25-Nov-2026", &[20]),
        ("SINCE 25-Nov-2026", &[20, 30]),
        ("OLDER 86400", &[10]),
        ("YOUNGER 86393", &[20, 30]),
        ("YOUNGER 86392", &[30]),
        ("OLDER 86393", &[10, 20]),
        ("SENTON 24-Nov-2026", &[10]),
        ("SENTON 1-Jan-2025", &[20]),
        ("SENTBEFORE 2-Jan-2025", &[20]),
        ("SENTSINCE 2-Jan-2025", &[10]),
        ("NOT SENTSINCE 1-Jan-1970", &[30]),
        ("LARGER 309", &[10, 20]),
        ("LARGER 310", &[20]),
        ("SMALLER 310", &[30]),
        ("SMALLER 14", &[30]),
        ("SMALLER 13", &[]),
        ("SMALLER 0", &[]),
        ("LARGER 18446744073709551615", &[]),
        ("FROM \"jÜRGEN <J@\"", &[10]),
        ("FROM x.test", &[10, 20]),
        ("FROM \"\"", &[10, 20]),
        ("TO \"A@y.test, b@\"", &[10]),
        ("CC c@y", &[10]),
        ("BCC SECRET", &[20]),
        ("SUBJECT \"grüße FROM\"", &[10]),
        ("SUBJECT nested", &[]),
        ("HEADER X-Empty \"\"", &[10]),
        ("HEADER x-none \"\"", &[]),
        ("HEADER \"Content-Type\" MIXED", &[20]),
        ("BODY \"TWO\"", &[10]),
        ("BODY \"Привет\"", &[20]),
        ("BODY \"привет\"", &[20]),
        ("BODY \"CAFÉ longLINE\"", &[20]),
        ("BODY GIF89a", &[]),
        ("BODY preamble", &[]),
        ("BODY inside", &[20]),
        ("BODY \"subject: nested mail\"", &[20]),
        ("BODY \"The Label\"", &[]),
        ("TEXT \"the label\"", &[20]),
        ("BODY secret", &[]),
        ("TEXT secret", &[20]),
        ("TEXT \"jürgen\"", &[10]),
        ("TEXT \"no header\"", &[30]),
        ("BODY \"\"", &[10, 20, 30]),
        ("OR SEEN BODY inside", &[10, 20]),
        ("NOT TEXT test", &[30]),
        ("OR (FROM kim BODY inside) (SEEN NOT BODY kim)", &[10, 20]),
        ("TEXT x.test NOT BODY lines", &[20]),
    ] {
        assert_eq!(run(&mut disk, &scope, query(text)).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn no_more_is_read_than_has_to_be() {
    let (mut disk, mut scope) = world();
    let mut cost = |scope: &Scope, text: &str| {
        run(&mut disk, scope, query(text)).unwrap();
        disk.counted_log().iter().filter(|op| !["OpenRoot", "OpenDir"].contains(op)).count()
    };
    assert_eq!(cost(&scope, "SEEN UID 1:20 NEW"), 0);
    assert_eq!(cost(&scope, "OR SEEN BODY x"), 2);
    assert_eq!(cost(&scope, "SEEN FROM a TO b CC c TEXT d BODY e"), 1);
    assert_eq!(cost(&scope, "SINCE 1-Jan-2000"), 3);
    assert_eq!(cost(&scope, "LARGER 1"), 2);
    scope.within = [20].into_iter().collect();
    assert_eq!(cost(&scope, "BODY x"), 1);
}

#[test]
fn renamed_gone_and_unreadable_messages() {
    let (mut disk, scope) = world();
    disk.move_file("/m/cur/2.a:2,FR", "/m/cur/2.a:2,FRS");
    disk.remove_file("/m/cur/3.a:2,DT");
    assert_eq!(run(&mut disk, &scope, query("NOT BODY nothing")), Ok(vec![10, 20]));
    disk.fail_at = Some((2, crate::disk::Errno::Access));
    assert_eq!(run(&mut disk, &scope, query("NOT BODY nothing")), Ok(vec![20]));
    disk.fail_at = Some((2, crate::disk::Errno::Io));
    let error = run(&mut disk, &scope, query("BODY x")).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Temporary(crate::disk::Errno::Io));
    assert_eq!(&error.file[..], b"1.a,S=300,W=310:2,Sb");
}

/// One message alone.
fn finds(stored: &[u8], key: &str) -> bool {
    let mut disk = MemDisk::with_maildir();
    disk.put_file("/m/cur/1.a", stored);
    let mut messages = Messages::default();
    messages.push(Message::new(10, b"1.a"[..].into(), false, FlagSet::EMPTY, 1));
    let scope = Scope { messages, within: [10].into_iter().collect(), ..Scope::default() };
    run(&mut disk, &scope, query(key)).unwrap() == [10]
}

#[test]
fn addresses_are_found_as_envelope_shows_them() {
    let stored = b"From: kim (at (home)) @ (the) x.test\nTo: \"Q \\\"R\\\" S\" <q@y.test>, \"a b\"@z.test\n\
        Cc: grp: =?utf-8?q?J=C3=BCrg?= <j.@k.test>, l@ m.test;\nReply-To: n (o) @p.test\n\n";
    for found in [
        "FROM kim@x.test",
        "FROM home",
        "TO {7}\r\nQ \"R\" S",
        "TO {8}\r\na b@z.te",
        "CC l@m.test",
        "CC grp:",
    ] {
        assert!(finds(stored, found), "{found}");
    }
    // As it stands there, too; and HEADER asks only for what stands there, of fields that have no key of their own.
    assert!(finds(stored, "FROM \"(home)) @ (the)\"") && finds(stored, "HEADER Reply-To \"n (o) @p\""));
    for other in ["FROM kim@home", "TO kim@x.test", "HEADER Reply-To n@p.test"] {
        assert!(!finds(stored, other), "{other}");
    }
}

#[test]
fn large_messages_are_searched_in_chunks() {
    let filler = "lorem ipsum dolor sit amet\n".repeat(12_000);
    let text = format!("{filler}Needle at the end É\n");
    let mail = |encoding: &str, body: &str| {
        let head = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nfirst\n--b\n";
        let part = format!("Content-Transfer-Encoding: {encoding}\nX-Part: label\n");
        format!("{head}Content-Type: text/plain; charset=utf-8\n{part}\n{body}\n--b--\n").into_bytes()
    };
    let lines: Vec<_> = base64::encode(text.as_bytes())
        .into_bytes()
        .chunks(76)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    for stored in [mail("8bit", &text), mail("base64", &lines.join("\n"))] {
        assert!(stored.len() > 300_000);
        assert!(finds(&stored, "BODY \"needle AT the end é\""));
        assert!(finds(&stored, "TEXT \"x-part: LABEL\" BODY first NOT BODY label"));
        assert!(!finds(&stored, "BODY needles"));
    }
    let long_header = format!("Subject: {}\nFrom: joe\n\nbody\n", "x ".repeat(20_000));
    assert!(finds(long_header.as_bytes(), "FROM joe BODY body"));
}

#[test]
fn case_is_that_of_unicode() {
    let stored = "Subject: ΟΔΟΣ\n\nοδος, Ёлка, STRAẞE\n".as_bytes();
    for key in ["SUBJECT \"οδος\"", "BODY \"ΟΔΟΣ\"", "BODY \"ёЛКА\"", "BODY \"straße\""] {
        assert!(finds(stored, key), "{key}");
    }
    assert!(!finds(stored, "BODY \"Елка\""));
}

#[test]
fn a_long_search_lets_others_have_their_turn() {
    let (_, scope) = world();
    let key = query("OR SEEN UID 30");
    let mut task = crate::disk::Task::new(|disk| async move {
        let mut reader = Reader::new(disk, root(), FolderName::inbox());
        // Each message costs three keys.
        reader.sizes = Sizes { turn: 3 * 16 * 2, ..Sizes::USUAL };
        let found = search_with(&mut reader, &scope, &key).await;
        reader.finish().await;
        found
    });
    use crate::disk::{Resume, TaskStep};
    assert!(matches!(task.resume(Resume::Start), TaskStep::Wait(core::time::Duration::ZERO)));
    assert!(matches!(task.resume(Resume::Start), TaskStep::Done(Ok(_))));
}

#[test]
fn the_last_date_counts() {
    let stored = b"Date: 1 Jan 2001 00:00:00 +0000\nDate: 2 Feb\n 2002 00:00:00 +0000\n\n";
    assert!(finds(stored, "SENTON 2-Feb-2002") && !finds(stored, "SENTON 1-Jan-2001"));
    assert!(!finds(b"Date: yesterday\n\n", "SENTSINCE 1-Jan-1970"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_text_is_found_wherever_it_is_cut(
        text in "[aAbéÉ ]{0,40}", needle in "[abé]{1,3}", cuts in prop::collection::vec(0usize..50, 0..6),
    ) {
        let texts = [text::Text::new(Where::Body, &needle), text::Text::new(Where::Header, "zzzzzzzzzz")];
        let needles = Needles::new(&texts);
        let (mut facts, mut window) = (Facts::new(2), needles.window());
        let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| text.is_char_boundary(*cut)).collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        let mut at = 0;
        for cut in cuts {
            window.feed(&text[at..cut], Where::Body, &mut facts);
            at = cut;
        }
        prop_assert_eq!(facts.found[0].unwrap_or(false), text.to_lowercase().contains(&needle));
        prop_assert_eq!(facts.found[1], None);
    }

    #[test]
    fn how_much_is_read_at_once_does_not_matter(small in 0usize..40, head in 0usize..20, chunk in 1usize..20) {
        let (mut disk, scope) = world();
        for text in ["FROM kim", "TEXT \"the label\"", "BODY \"CAFÉ longLINE\"", "BODY inside", "BODY GIF", "LARGER 300"] {
            let usual = run(&mut disk, &scope, query(text)).unwrap();
            let (scope, query) = (scope.clone(), query(text));
            let found = disk.run(vec![], |disk| async move {
                let mut reader = Reader::new(disk, root(), FolderName::inbox());
                reader.sizes = Sizes { small, head, chunk, turn: 99, ..Sizes::USUAL };
                let found = search_with(&mut reader, &scope, &query).await;
                reader.finish().await;
                found
            });
            prop_assert_eq!(found.unwrap().unwrap().iter().collect::<Vec<_>>(), usual, "{}", text);
        }
    }

    #[test]
    fn encodings_do_not_matter(text in "[aAbéÉ=\n ]{0,60}", needle in "[abé]{1,3}") {
        let head = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: ";
        let expected = text.to_lowercase().contains(&needle);
        let quoted: String = text.bytes().map(|octet| format!("={octet:02X}")).collect();
        for (encoding, body) in [("8bit", text.clone()), ("base64", base64::encode(text.as_bytes())), ("quoted-printable", quoted)] {
            let stored = format!("{head}{encoding}\n\n{body}");
            prop_assert_eq!(finds(stored.as_bytes(), &format!("BODY \"{needle}\"")), expected);
        }
    }
}

#[test]
fn headers_that_were_read_once_are_not_read_again() {
    let (mut disk, mut scope) = world();
    scope.cache = Some(Arc::default());
    for (first, then) in
        [("SUBJECT x", "OR SUBJECT from FROM kim"), ("HEADER X-Empty z", "HEADER x-EMPTY \"\"")]
    {
        run_once(&mut disk, &scope, query(first)).unwrap();
        let expected = run_once(&mut disk.clone(), &Scope { cache: None, ..scope.clone() }, query(then));
        let mut without = disk.clone();
        scope.messages.iter().for_each(|message| {
            without.remove_file(&format!("/m/cur/{}", String::from_utf8_lossy(&message.file)));
        });
        assert_eq!(run_once(&mut without, &scope, query(then)), expected, "{then}");
    }
}

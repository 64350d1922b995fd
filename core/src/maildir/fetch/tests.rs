use super::*;
use crate::imap::command::{CommandBody, parse};
use crate::imap::flag::FlagSet;
use crate::maildir::memdisk::{MemDisk, root};
use crate::maildir::reader::Sizes;
use crate::send_queue::{SendQueue, Transmit};
use crate::wire::eol::ToCrlf;
use alloc::string::ToString;
use alloc::vec;
use proptest::prelude::*;
use std::format;

const MAIL: &[u8] = b"From: Joe <joe@x.test>\nSubject: Hi\nDATE: Tue, 24 Nov 2026 04:19:24 +0000\n\
    MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nHello\nyou\n--b\n\
    Content-Type: message/rfc822\n\nSubject: inner\n\ninside\n--b--\n";

/// Texts above are sent from their files.
const SMALL: usize = 64 * 1024;

fn all_named() -> FlagSet {
    FlagSet::from_bits(u32::MAX)
}

fn message(uid: u32, file: &str) -> Message {
    Message::new(uid, file.as_bytes().into(), false, all_named(), 1)
}

fn request(items: &str) -> FetchRequest {
    let line = format!("a FETCH 1 ({items})\r\n");
    let CommandBody::Fetch(fetch) = parse(line.as_bytes()).unwrap().body else { panic!("{items}") };
    FetchRequest { items: fetch.items, ..FetchRequest::default() }
}

fn wanted(messages: &[Message], items: &str) -> Wanted {
    Wanted {
        messages: messages.to_vec(),
        keywords: Arc::new(vec![String::from("$Junk")]),
        request: Arc::new(request(items)),
        changed: UidSet::default(),
        memo: None,
        cache: None,
    }
}

type Rows = Vec<(u32, Vec<u8>)>;

/// One page, its files sent through a queue.
fn page(
    disk: &mut MemDisk,
    wanted: Wanted,
    files: usize,
) -> Result<(FetchPage, Rows, Vec<Learned>), StoreError> {
    disk.handed_out = Some(files);
    let fetched = disk.run(vec![], |disk| fetch(disk, root(), FolderName::inbox(), wanted)).unwrap();
    disk.handed_out = Some(0);
    let Fetched { page, learned, .. } = fetched?;
    assert_eq!(page.files.len(), files);
    let rows = send(disk, &page);
    Ok((page, rows, learned))
}

fn send(disk: &mut MemDisk, page: &FetchPage) -> Rows {
    let (mut rows, mut at, mut sent) = (Vec::new(), 0, 0);
    for row in &page.rows {
        let mut tx = SendQueue::default();
        let first = at + 1;
        for (place, range) in page.files.iter().filter(|(place, _)| (first..=row.end).contains(place)) {
            tx.push(&page.bytes[at..*place]);
            tx.push_range(*range);
            at = *place;
            sent += 1;
        }
        tx.push(&page.bytes[at..row.end]);
        at = row.end;
        rows.push((row.uid, drain(disk, &mut tx)));
    }
    assert_eq!((at, sent), (page.bytes.len(), page.files.len()));
    rows
}

fn drain(disk: &mut MemDisk, tx: &mut SendQueue) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let read = match tx.poll_transmit() {
            None => break,
            Some(Transmit::Bytes(bytes)) => {
                out.extend_from_slice(bytes);
                let count = bytes.len();
                tx.handle_sent(count);
                continue;
            }
            Some(Transmit::Read { file, offset, len }) => disk.read_handle(file, offset, len),
        };
        tx.handle_read(&read);
    }
    assert_eq!(tx.poll_mismatch(), 0);
    while let Some(file) = tx.poll_release() {
        disk.close_handle(file);
    }
    out
}

/// The row of the one message.
fn row(disk: &mut MemDisk, message: &Message, items: &str, files: usize) -> Vec<u8> {
    let (page, rows, _) = page(disk, wanted(core::slice::from_ref(message), items), files).unwrap();
    assert!(!page.gone && page.next.is_none() && rows.len() == 1);
    rows.into_iter().next().unwrap().1
}

fn crlf(stored: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ToCrlf::new().feed(stored, &mut out);
    out
}

/// A disk with one message.
fn disk_with(stored: &[u8]) -> (MemDisk, Message) {
    let mut disk = MemDisk::with_maildir();
    let name = format!("1.a,S={},W={}:2,S", stored.len(), crlf(stored).len());
    disk.put_file(&format!("/m/cur/{name}"), stored);
    (disk, message(7, &name))
}

fn literal(octets: &[u8]) -> Vec<u8> {
    [format!("{{{}}}\r\n", octets.len()).as_bytes(), octets].concat()
}

/// What a section of a message answers, without its name.
fn section(disk: &mut MemDisk, message: &Message, section: &str, files: usize) -> Vec<u8> {
    let row = row(disk, message, section, files);
    let at = row.iter().position(|byte| *byte == b']').unwrap();
    let name_end = at + row[at..].iter().position(|byte| *byte == b' ').unwrap();
    row[name_end + 1..].to_vec()
}

#[test]
fn every_item_of_a_small_message() {
    let (mut disk, message) = disk_with(MAIL);
    disk.set_mtime(&format!("/m/cur/{}", String::from_utf8_lossy(&message.file)), 1_000_000_000_999_999_999);
    let wire = String::from_utf8(crlf(MAIL)).unwrap();
    let (header, text) = wire.split_at(wire.find("\r\n\r\n").unwrap() + 4);
    let joe = r#"(("Joe" NIL "joe" "x.test"))"#;
    let parts = r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 1"#;
    let inner = r#""message" "rfc822" NIL NIL NIL "7bit" 24"#;
    let inner_envelope = r#"(NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL)"#;
    let inner_parts = r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 0"#;
    let nils = " NIL NIL NIL NIL";
    for (items, expected) in [
        ("UID", "UID 7".into()),
        ("FLAGS UID FLAGS UID", r"FLAGS (\Seen) UID 7".into()),
        ("INTERNALDATE", r#"INTERNALDATE " 9-Sep-2001 01:46:40 +0000""#.into()),
        ("RFC822.SIZE", format!("RFC822.SIZE {}", wire.len())),
        (
            "ENVELOPE",
            format!(
                r#"ENVELOPE ("Tue, 24 Nov 2026 04:19:24 +0000" "Hi" {joe} {joe} {joe} NIL NIL NIL NIL NIL)"#
            ),
        ),
        ("BODY", format!(r#"BODY ({parts})({inner} {inner_envelope} {inner_parts}) 2) "mixed")"#)),
        (
            "BODYSTRUCTURE",
            format!(
                "BODYSTRUCTURE ({parts}{nils})({inner} {inner_envelope} {inner_parts}{nils}) 2{nils}) \
                 \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)"
            ),
        ),
        ("RFC822", format!("RFC822 {{{}}}\r\n{wire}", wire.len())),
        ("RFC822.HEADER", format!("RFC822.HEADER {{{}}}\r\n{header}", header.len())),
        ("RFC822.TEXT", format!("RFC822.TEXT {{{}}}\r\n{text}", text.len())),
        ("BODY[]", format!("BODY[] {{{}}}\r\n{wire}", wire.len())),
        ("BODY.PEEK[HEADER]", format!("BODY[HEADER] {{{}}}\r\n{header}", header.len())),
        ("BODY[TEXT]", format!("BODY[TEXT] {{{}}}\r\n{text}", text.len())),
        ("BODY[1]", "BODY[1] {10}\r\nHello\r\nyou".into()),
        ("BODY[1]<3.4>", "BODY[1]<3> {4}\r\nlo\r\n".into()),
        ("BODY[1]<6.1>", "BODY[1]<6> {1}\r\n\n".into()),
        ("BODY[1]<10.4>", "BODY[1]<10> {0}\r\n".into()),
        ("BODY[1.MIME]", "BODY[1.MIME] {2}\r\n\r\n".into()),
        ("BODY[2.MIME]", "BODY[2.MIME] {32}\r\nContent-Type: message/rfc822\r\n\r\n".into()),
        ("BODY[2.HEADER]", "BODY[2.HEADER] {18}\r\nSubject: inner\r\n\r\n".into()),
        ("BODY[2.TEXT]", "BODY[2.TEXT] {6}\r\ninside".into()),
        ("BODY[2.1]", "BODY[2.1] {6}\r\ninside".into()),
        ("BODY[3]", "BODY[3] NIL".into()),
        ("BODY[1.HEADER]", "BODY[1.HEADER] NIL".into()),
        (
            "BODY[HEADER.FIELDS (date From)]",
            "BODY[HEADER.FIELDS (date From)] {65}\r\nFrom: Joe <joe@x.test>\r\n\
             DATE: Tue, 24 Nov 2026 04:19:24 +0000\r\n\r\n"
                .into(),
        ),
        ("BODY.PEEK[HEADER.FIELDS (Subject)]<2.5>", "BODY[HEADER.FIELDS (Subject)]<2> {5}\r\nbject".into()),
        ("BODY[2.HEADER.FIELDS.NOT (Subject)]", "BODY[2.HEADER.FIELDS.NOT (Subject)] {2}\r\n\r\n".into()),
    ] {
        let row = String::from_utf8(row(&mut disk, &message, items, 0)).unwrap();
        assert_eq!(row, expected, "{items}");
    }
}

#[test]
fn what_is_known_needs_no_file() {
    let mut message = message(3, "1.a,S=5,W=6:2,Fa");
    message.internal_date = Some(0);
    let (keywords, mut out) = ([String::from("$Junk")], b"x".to_vec());
    let mut all = request("INTERNALDATE UID RFC822.SIZE FLAGS");
    all.recent.push(3);
    assert!(render_known(&message, &keywords, &all, &mut out));
    let expected =
        r#"xINTERNALDATE " 1-Jan-1970 00:00:00 +0000" UID 3 RFC822.SIZE 6 FLAGS (\Flagged \Recent $Junk)"#;
    assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
    message.internal_date = None;
    assert!(!render_known(&message, &keywords, &all, &mut out) && out.len() == expected.len());
    assert!(!render_known(&message, &keywords, &request("UID BODY[]"), &mut out));
}

#[test]
fn facts_that_are_looked_up_are_told() {
    let mut disk = MemDisk::with_maildir();
    disk.put_file("/m/cur/1.a:2,", b"A: b\n\nc\n");
    disk.set_mtime("/m/cur/1.a:2,", -1);
    let message = message(4, "1.a:2,");
    let (_, rows, learned) =
        page(&mut disk, wanted(core::slice::from_ref(&message), "RFC822.SIZE INTERNALDATE"), 0).unwrap();
    let text = br#"RFC822.SIZE 11 INTERNALDATE "31-Dec-1969 23:59:59 +0000""#;
    assert_eq!(rows, [(4, text.to_vec())]);
    let fact = Learned { uid: 4, size: Some(8), wire_size: Some(11), internal_date: Some(-1) };
    assert_eq!(learned, [fact]);
    let mut messages = Messages::default();
    messages.push(message);
    messages.push(self::message(5, "2.a,W=100"));
    messages.push(self::message(6, "3.gone"));
    // What goes with an EXPUNGE: one whose size is known, one that is looked at.
    let deleted =
        |uid, name| Message { flags: FlagSet::EMPTY.with(SystemFlag::Deleted), ..self::message(uid, name) };
    messages.push(deleted(7, "4.d,S=90,W=95"));
    disk.put_file("/m/cur/5.e,W=9:2,T", b"A: b\n\nc");
    messages.push(deleted(8, "5.e,W=9:2,T"));
    assert_eq!(known_total_sizes(&messages), None);
    let total = disk.run(vec![], |disk| total_sizes(disk, root(), FolderName::inbox(), messages)).unwrap();
    assert_eq!(total, Ok(TotalSizes { wire: 11 + 100 + 95 + 9, deleted: 90 + 7 }));
}

#[test]
fn flags_that_the_fetch_changed_are_told() {
    let (mut disk, message) = disk_with(MAIL);
    let mut wanted = wanted(&[message], "BODY[2.TEXT]");
    wanted.changed.push(7);
    let (_, rows, _) = page(&mut disk, wanted.clone(), 0).unwrap();
    assert_eq!(
        rows,
        [(7, br"BODY[2.TEXT] {6}".iter().chain(b"\r\ninside FLAGS (\\Seen)").copied().collect())]
    );
    wanted.request = Arc::new(request("FLAGS BODY[2.TEXT]"));
    let (_, rows, _) = page(&mut disk, wanted, 0).unwrap();
    assert!(rows[0].1.ends_with(b"inside"));
}

#[test]
fn a_renamed_message_is_found_and_a_vanished_one_left_out() {
    let mut disk = MemDisk::with_maildir();
    disk.put_file("/m/cur/1.a:2,S", b"A: 1\n\n1");
    disk.put_file("/m/cur/2.a:2,FRS", b"A: 2\n\n2");
    disk.put_file("/m/new/4.a", b"A: 4\n\n4");
    let mut last = message(4, "4.a");
    last.in_new = true;
    let all = [message(1, "1.a:2,"), message(2, "2.a:2,"), message(3, "3.a:2,"), last, message(5, "5.a")];
    let (page, rows, _) = page(&mut disk, wanted(&all, "BODY[TEXT]"), 0).unwrap();
    let row = |uid, text: &str| (uid, format!("BODY[TEXT] {{1}}\r\n{text}").into_bytes());
    assert_eq!(rows, [row(1, "1"), row(2, "2"), row(4, "4")]);
    assert!(page.gone && page.next.is_none());
    let lists = disk.log.iter().filter(|op| *op == "List").count();
    assert_eq!(lists, 2 * 3);
}

#[test]
fn a_message_renamed_after_the_listing_is_looked_for_again() {
    let mut disk = MemDisk::with_maildir();
    disk.put_file("/m/cur/1.a:2,S", b"A: 1\n\n1");
    // Root, cur, the known name, new, its listing, that of cur: now it gets its third name.
    disk.before = Some((6, |disk| disk.move_file("/m/cur/1.a:2,S", "/m/cur/1.a:2,ST")));
    let (page, rows, _) = page(&mut disk, wanted(&[message(1, "1.a:2,")], "BODY[TEXT]"), 0).unwrap();
    assert!(!page.gone && rows.len() == 1, "{:?}", disk.log);
    assert_eq!(disk.log.iter().filter(|op| *op == "ReadFile").count(), 3);
}

#[test]
fn an_error_ends_the_page_before_the_message() {
    let mut disk = MemDisk::with_maildir();
    for name in ["1.a", "2.a"] {
        disk.put_file(&format!("/m/cur/{name}"), b"A: 1\n\nx");
    }
    let both = [message(1, "1.a"), message(2, "2.a")];
    disk.fail_at = Some((3, crate::disk::Errno::Io));
    let (first, rows, _) = page(&mut disk, wanted(&both, "BODY[TEXT]"), 0).unwrap();
    assert_eq!((rows.len(), first.next, first.gone), (1, Some(2), false));
    disk.fail_at = Some((2, crate::disk::Errno::Quota));
    let error = page(&mut disk, wanted(&both[1..], "BODY[TEXT]"), 0).unwrap_err();
    assert_eq!(
        (error.kind, &error.file[..]),
        (crate::maildir::context::StoreErrorKind::OverQuota, &b"2.a"[..])
    );
    disk.fail_at = Some((2, crate::disk::Errno::Access));
    let (second, rows, _) = page(&mut disk, wanted(&both, "BODY[TEXT]"), 0).unwrap();
    assert_eq!(
        (rows.len(), rows[0].0, second.unreadable, second.next),
        (1, 2, [1].into_iter().collect(), None)
    );
    disk.fail_at = None;
    let folder = FolderName::new(b"None").unwrap();
    let missing = disk.run(vec![], |disk| fetch(disk, root(), folder, wanted(&both, "BODY[]"))).unwrap();
    assert_eq!(missing.unwrap_err().kind, crate::maildir::context::StoreErrorKind::NotFound);
}

#[test]
fn no_handle_leaks_whatever_fails() {
    let (mut disk, message) = disk_with(&large_mail());
    let whole =
        wanted(core::slice::from_ref(&message), "ENVELOPE BODY[1] BODY[2] BODY[TEXT]<9.5> BODYSTRUCTURE");
    disk.handed_out = None;
    for failing in 0.. {
        disk.fail_at = Some((failing, crate::disk::Errno::Io));
        let asked = whole.clone();
        let fetched = disk.run(vec![], |disk| fetch(disk, root(), FolderName::inbox(), asked)).unwrap();
        if failing >= disk.ops {
            let Fetched { page, .. } = fetched.unwrap();
            assert_eq!((page.files.len(), disk.open_handles()), (2, 2));
            return;
        }
        fetched.unwrap_err();
        assert_eq!(disk.open_handles(), 0, "operation {failing} failed");
    }
}

#[test]
fn a_page_ends_when_it_is_full() {
    let mut disk = MemDisk::with_maildir();
    let text = "x".repeat(60_000);
    disk.put_file("/m/cur/1.a", format!("A: 1\n\n{text}").as_bytes());
    let all: Vec<_> = (1..=10).map(|uid| message(uid, "1.a")).collect();
    let (page, rows, _) = page(&mut disk, wanted(&all, "BODY[]"), 0).unwrap();
    assert_eq!((rows.len(), page.next), (5, Some(6)));
    assert_eq!(disk.log.iter().filter(|op| *op == "OpenRoot" || *op == "OpenDir").count(), 2);
}

#[test]
fn a_page_ends_when_much_was_read_for_it() {
    let mut disk = MemDisk::with_maildir();
    disk.put_file("/m/cur/1.a", &large_text(100_000));
    let all: Vec<_> = (1..=5).map(|uid| message(uid, "1.a")).collect();
    let wanted = wanted(&all, "BODYSTRUCTURE");
    let Fetched { page, .. } = disk
        .run(vec![], |disk| {
            let mut reader = Reader::new(disk, root(), FolderName::inbox());
            reader.sizes = Sizes { page: 300_000, ..Sizes::USUAL };
            fetch_with(reader, wanted)
        })
        .unwrap()
        .unwrap();
    assert_eq!((page.rows.len(), page.next), (3, Some(4)));
}

#[test]
fn no_nul_is_sent() {
    let (mut disk, message) = disk_with(b"A: \0b\n\n\0c");
    assert_eq!(section(&mut disk, &message, "BODY[]", 0), b"{11}\r\nA: \x80b\r\n\r\n\x80c");
    assert_eq!(section(&mut disk, &message, "BODY[HEADER.FIELDS (A)]", 0), b"{9}\r\nA: \x80b\r\n\r\n");
}

/// Octets of which a large message is made: lines of all lengths, both line ends, bare CRs.
fn large_text(bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 200);
    let mut line = 0usize;
    while out.len() < bytes {
        out.extend(core::iter::repeat_n(b'a' + (line % 26) as u8, line * 7 % 190));
        out.extend_from_slice([&b"\n"[..], b"\r\n", b"\r", b"\r\r\n"][line % 11 % 4]);
        line += 1;
    }
    out
}

fn large_mail() -> Vec<u8> {
    let (one, two) = (large_text(150_000), large_text(700_000));
    let head =
        &b"Subject: large\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n"[..];
    [head, &one, b"\n--b\nContent-Type: text/x-two\n\n", &two, b"\n--b\n\nshort\n--b--\n"].concat()
}

#[test]
fn a_large_message_is_sent_from_its_file() {
    let stored = large_mail();
    let wire = crlf(&stored);
    let (mut disk, message) = disk_with(&stored);
    let header = b"Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
    assert!(section(&mut disk, &message, "BODY[]", 1) == literal(&wire));
    assert!(section(&mut disk, &message, "BODY[TEXT]", 1) == literal(&wire[header.len()..]));
    assert!(section(&mut disk, &message, "BODY[1]", 1) == literal(&crlf(&large_text(150_000))));
    assert!(section(&mut disk, &message, "BODY[2]", 1) == literal(&crlf(&large_text(700_000))));
    assert_eq!(section(&mut disk, &message, "BODY[3]", 0), b"{5}\r\nshort");
    assert_eq!(section(&mut disk, &message, "BODY[HEADER]", 0), literal(header));
    assert_eq!(section(&mut disk, &message, "BODY[2.MIME]", 0), literal(b"Content-Type: text/x-two\r\n\r\n"));
    let row = row(&mut disk, &message, "BODY[1] UID BODY[2] RFC822.SIZE", 2);
    assert!(row.ends_with(format!(" RFC822.SIZE {}", wire.len()).as_bytes()));
    // The page ends behind a message that has files.
    let two = wanted(&[message.clone(), message], "BODY[]");
    let (page, rows, _) = page(&mut disk, two, 1).unwrap();
    assert_eq!((rows.len(), page.next), (1, Some(7)));
}

#[test]
fn a_name_that_lies_about_its_size_is_not_believed() {
    let stored = large_text(200_000);
    let mut disk = MemDisk::with_maildir();
    disk.put_file("/m/cur/1.a,S=7,W=300000", &stored);
    disk.put_file("/m/cur/2.a", &stored);
    disk.put_file("/m/cur/3.a,S=3,W=3", b"A: b\n\n");
    for name in ["1.a,S=7,W=300000", "2.a"] {
        assert!(section(&mut disk, &message(7, name), "BODY[]", 1) == literal(&crlf(&stored)));
    }
    let asked = wanted(&[message(7, "1.a,S=7,W=300000")], "BODY[]");
    let (_, _, learned) = page(&mut disk, asked, 1).unwrap();
    let (size, wire_size) = (Some(stored.len() as u64), Some(crlf(&stored).len() as u64));
    assert_eq!((learned[0].size, learned[0].wire_size), (size, wire_size));
    assert_eq!(section(&mut disk, &message(7, "3.a,S=3,W=3"), "BODY[]", 0), literal(b"A: b\r\n\r\n"));
    // Once it was read nobody is told its RFC822.SIZE by its name any more.
    let mut small = message(7, "3.a,S=3,W=3");
    let (_, _, learned) = page(&mut disk, wanted(core::slice::from_ref(&small), "BODY[]"), 0).unwrap();
    learned[0].correct(&mut small);
    let (_, rows, _) = page(&mut disk, wanted(&[small], "RFC822.SIZE"), 0).unwrap();
    assert_eq!(rows, [(7, b"RFC822.SIZE 8".to_vec())]);
}

#[test]
fn a_header_longer_than_what_is_read_first() {
    let mut stored = b"Subject: first\n".to_vec();
    (0..9000).for_each(|n| stored.extend_from_slice(format!("X-{n}: filler filler\n").as_bytes()));
    stored.extend_from_slice(b"From: joe@x.test\n\ntext\n");
    let (mut disk, message) = disk_with(&stored);
    assert_eq!(
        section(&mut disk, &message, "BODY[HEADER.FIELDS (From Subject)]", 0),
        literal(b"Subject: first\r\nFrom: joe@x.test\r\n\r\n")
    );
    assert!(
        row(&mut disk, &message, "ENVELOPE", 0).starts_with(b"ENVELOPE (NIL \"first\" ((NIL NIL \"joe\"")
    );
    let header = &crlf(&stored)[..crlf(&stored).len() - 6];
    assert!(section(&mut disk, &message, "BODY[HEADER]", 0) == literal(header));
    assert_eq!(section(&mut disk, &message, "BODY[TEXT]", 0), b"{6}\r\ntext\r\n");
}

#[test]
fn many_field_names() {
    let (mut disk, message) = disk_with(MAIL);
    let names: Vec<_> = (0..40).map(|n| format!("X-{n}")).collect();
    let got = section(&mut disk, &message, &format!("BODY[HEADER.FIELDS (SUBJECT {})]", names.join(" ")), 0);
    assert!(got.ends_with(b"{15}\r\nSubject: Hi\r\n\r\n"));
    let not = format!("BODY[HEADER.FIELDS.NOT (subject date mime-version {} FROM)]", names.join(" "));
    let got = section(&mut disk, &message, &not, 0);
    assert!(got.ends_with(b"{45}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"));
}

#[test]
fn a_header_without_an_end() {
    let stored = b"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n".repeat(40_000);
    let (mut disk, message) = disk_with(&stored);
    assert!(section(&mut disk, &message, "BODY[HEADER]", 1) == literal(&crlf(&stored)));
    assert_eq!(section(&mut disk, &message, "BODY[TEXT]", 0), b"{0}\r\n");
    assert_eq!(
        row(&mut disk, &message, "ENVELOPE", 0),
        b"ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
    );
}

#[test]
fn a_piece_may_begin_around_a_line_end_between_two_reads() {
    let chunk = 256 * 1024;
    for line_end in [&b"\r\n"[..], b"\n", b"\r\r\n"] {
        let stored = [&vec![b'x'; chunk - 1], line_end, &large_text(200_000)].concat();
        let (wire, (mut disk, message)) = (crlf(&stored), disk_with(&stored));
        for offset in chunk - 3..chunk + 6 {
            let short = section(&mut disk, &message, &format!("BODY[]<{offset}.9>"), 0);
            assert_eq!(short, literal(&wire[offset..offset + 9]), "{offset}");
            let long = section(&mut disk, &message, &format!("BODY[]<{offset}.90000>"), 1);
            assert!(long == literal(&wire[offset..offset + 90_000]), "{offset}");
        }
    }
}

#[test]
fn more_files_than_a_row_may_have() {
    let stored = large_text(100_000);
    let (mut disk, message) = disk_with(&stored);
    let items: Vec<_> = (0..20).map(|n| format!("BODY[]<{n}.90000>")).collect();
    let row = row(&mut disk, &message, &items.join(" "), ROW_FILES_MAX);
    let wire = crlf(&stored);
    let expected: Vec<_> = (0..20)
        .map(|n| [format!("BODY[]<{n}> ").as_bytes(), &literal(&wire[n..n + 90_000])[..]].concat())
        .collect();
    assert!(row == expected.join(&b' '));
}

#[test]
fn a_row_is_bounded() {
    let stored = large_text(8_000_000);
    let (mut disk, message) = disk_with(&stored);
    let items: Vec<_> = (0..20).map(|n| format!("BODY[]<{n}.7000000>")).collect();
    let error = page(&mut disk, wanted(&[message], &items.join(" ")), 0).unwrap_err();
    assert_eq!(error.kind, crate::maildir::context::StoreErrorKind::Cannot);
}

/// The pieces of a section in order, each with what the one before left; and how many octets were read to find them.
fn in_pieces(disk: &mut MemDisk, message: &Message, section: &str, bytes: usize) -> (Vec<u8>, usize) {
    let (mut whole, mut memo, mut found) = (Vec::new(), None, 0);
    for number in 0.. {
        let piece = format!("{section}<{}.{bytes}>", number * bytes);
        let asked = Wanted { memo, ..wanted(core::slice::from_ref(message), &piece) };
        (disk.handed_out, disk.octets_read) = (None, 0);
        let fetched = disk.run(vec![], |disk| fetch(disk, root(), FolderName::inbox(), asked)).unwrap();
        found += disk.octets_read;
        // What is passed over when the piece is sent is read then.
        let ranges = fetched.as_ref().map(|fetched| &fetched.page.files[..]).unwrap_or_default();
        found += ranges.iter().map(|(_, range)| range.skip as usize).sum::<usize>();
        let rows = send(disk, fetched.as_ref().map(|fetched| &fetched.page).unwrap());
        assert_eq!(disk.open_handles(), 0);
        let octets = rows[0].1.iter().position(|octet| *octet == b'\n').map(|at| &rows[0].1[at + 1..]);
        memo = fetched.unwrap().memo;
        match octets {
            None | Some([]) => return (whole, found),
            Some(octets) => whole.extend_from_slice(octets),
        }
    }
    unreachable!()
}

#[test]
fn pieces_in_order_cost_linear_time_in_total() {
    let stored = large_mail();
    let (mut disk, message) = disk_with(&stored);
    let text = stored.windows(2).position(|two| two == b"\n\n").unwrap() + 2;
    let parts = [("", crlf(&stored)), ("TEXT", crlf(&stored[text..])), ("2", crlf(&large_text(700_000)))];
    for (part, expected) in parts {
        for bytes in [expected.len() / 160, SMALL + 1] {
            let (whole, found) = in_pieces(&mut disk, &message, &format!("BODY.PEEK[{part}]"), bytes);
            assert!(whole == expected, "{part} {bytes}");
            // Once to find the part, once to find the pieces, once to read those that are short.
            let most = 3 * stored.len() + 4 * SMALL;
            assert!(found < most, "{part} {bytes}: {found} octets read of {most}");
        }
    }
}

#[test]
fn what_was_found_out_of_another_file_is_not_used() {
    let (mut disk, message) = disk_with(&large_mail());
    let piece = |memo| Wanted {
        memo,
        ..wanted(core::slice::from_ref(&message), "BODY[2]<100000.50000> BODY[]<200000.50000>")
    };
    let fetched = |disk: &mut MemDisk, memo| {
        let asked = piece(memo);
        disk.run(vec![], |disk| fetch(disk, root(), FolderName::inbox(), asked)).unwrap().unwrap()
    };
    disk.handed_out = Some(0);
    let memo = fetched(&mut disk, None).memo;
    assert!(memo.is_some());
    let path = format!("/m/cur/{}", core::str::from_utf8(&message.file).unwrap());
    disk.move_file(&path, "/m/other");
    for other in [[&b"X: moved\n"[..], &large_mail()].concat(), MAIL.to_vec()] {
        disk.put_file(&path, &other);
        let without = fetched(&mut disk, None);
        let with = fetched(&mut disk, memo.clone());
        assert!(with.page.bytes == without.page.bytes && with.memo == without.memo);
        disk.move_file(&path, "/m/other2");
    }
    // What is left of one message is no help with another, but is kept for the next piece.
    disk.move_file("/m/other", &path);
    disk.put_file("/m/cur/2.a:2,", MAIL);
    let asked = Wanted { memo: memo.clone(), ..wanted(&[self::message(8, "2.a:2,")], "BODY[TEXT]") };
    let other = disk.run(vec![], |disk| fetch(disk, root(), FolderName::inbox(), asked)).unwrap().unwrap();
    assert_eq!(other.memo, memo);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_partial_is_a_slice_of_the_whole(
        large: bool, part in prop::sample::select(&["", "TEXT", "HEADER", "1", "2", "3", "2.MIME"][..]),
        from in 0.0..1.1f64, length in prop::sample::select(&[1usize, 2, 77, 4096, 65_536, 65_537, 300_000, 9_000_000][..]),
    ) {
        let (mut disk, message) = disk_with(if large { LARGE.as_slice() } else { MAIL });
        let whole = |row: Vec<u8>| -> Vec<u8> {
            let at = row.iter().position(|octet| *octet == b'\n').map_or(0, |at| at + 1);
            row[at..].to_vec()
        };
        let is_large = large && ["", "TEXT", "1", "2"].contains(&part);
        let all = whole(section(&mut disk, &message, &format!("BODY[{part}]"), usize::from(is_large)));
        let offset = (all.len() as f64 * from) as usize;
        let start = offset.min(all.len());
        let end = offset.saturating_add(length).clamp(start, all.len());
        let is_file = is_large && length > SMALL && end > start;
        let got = section(&mut disk, &message, &format!("BODY[{part}]<{offset}.{length}>"), usize::from(is_file));
        if got != b"NIL" {
            prop_assert!(got == literal(&all[start..end]), "{} {} {}", part, offset, length);
        }
    }
}

/// Pieces of which messages are made.
const PIECES: [&str; 22] = [
    "Subject: =?utf-8?q?x?=\n",
    "From: joe@x.test, kim\r\n",
    "MIME-Version: 1.0\n",
    "Content-Type: text/plain\n",
    "Content-Type: multipart/mixed; boundary=b\n",
    "Content-Type: multipart/digest; boundary=c\r\n",
    "Content-Type: message/rfc822\n",
    " folded\n",
    "\n",
    "\r\n",
    "\n\n",
    "--b\n",
    "--b\r\n",
    "--b--\n",
    "--c\n",
    "--c--\n",
    "text",
    "more text\n",
    "a long line, longer than what is read at once\r\n",
    "\r",
    "\0",
    "--b",
];

const ITEMS: &str = "UID ENVELOPE BODY BODYSTRUCTURE RFC822.SIZE RFC822 RFC822.HEADER RFC822.TEXT BODY[1] BODY[2] BODY[1.1] \
    BODY[2.1] BODY[1.HEADER] BODY[2.TEXT] BODY[1.MIME] BODY[2.1.MIME] BODY[HEADER.FIELDS (Subject)] \
    BODY[HEADER.FIELDS.NOT (subject from)] BODY[2.HEADER.FIELDS.NOT (from)] FLAGS";

proptest! {
    #[test]
    fn how_much_is_read_at_once_does_not_matter(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40),
        small in 0usize..40, head in 0usize..20, chunk in 1usize..20, offset in 0usize..60, length in 1usize..60,
        named: bool,
    ) {
        let stored = pieces.concat();
        let (mut disk, mut message) = disk_with(stored.as_bytes());
        if !named {
            (message.size, message.wire_size) = (None, None);
        }
        let (next, before) = (offset + length, offset / 2);
        let items = format!("{ITEMS} BODY[]<{offset}.{length}> BODY[TEXT]<{offset}.{length}> BODY[1]<{offset}.{length}>");
        let pieces = format!("BODY[]<{next}.{length}> BODY[TEXT]<{before}.{length}> BODY[1]<{next}.{length}> BODY[2]<9.9> UID");
        let wanted = wanted(&[message], &items);
        let usual = page(&mut disk, wanted.clone(), 0).unwrap().1;
        let sizes = Sizes { small, head, chunk, turn: 99, ..Sizes::USUAL };
        disk.handed_out = None;
        let text = |rows: &Rows| String::from_utf8_lossy(&rows[0].1).into_owned();
        let fetch_all = |disk: &mut MemDisk, wanted: Wanted| {
            let fetched = disk.run(vec![], |disk| {
                let mut reader = Reader::new(disk, root(), FolderName::inbox());
                reader.sizes = sizes;
                fetch_with(reader, wanted)
            });
            let Fetched { page, memo, .. } = fetched.unwrap().unwrap();
            assert_eq!(disk.open_handles(), page.files.len());
            let rows = send(disk, &page);
            assert_eq!(disk.open_handles(), 0);
            (rows, memo)
        };
        let (rows, memo) = fetch_all(&mut disk, wanted.clone());
        prop_assert_eq!(text(&rows), text(&usual));
        // Once more, and the pieces alone, with what the first time has left.
        let (rows, _) = fetch_all(&mut disk, Wanted { memo: memo.clone(), ..wanted.clone() });
        prop_assert_eq!(text(&rows), text(&usual));
        let pieces = Wanted { request: Arc::new(request(&pieces)), ..wanted };
        let usual = page(&mut disk, pieces.clone(), 0).unwrap().1;
        disk.handed_out = None;
        let (rows, _) = fetch_all(&mut disk, Wanted { memo, ..pieces });
        prop_assert_eq!(text(&rows), text(&usual));
    }
}

static LARGE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(large_mail);

const CODED: &[u8] = b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\
    Content-Transfer-Encoding: base64\n\naGVsbG8gd29y\nbGQ=\n--b\n\
    Content-Transfer-Encoding: quoted-printable\n\ncaf=C3=A9 =\nau\nlait=00\n--b\n\
    Content-Transfer-Encoding: x-uuencode\n\nbegin 644\n--b\n\nplain\ntext\n--b--\n";

#[test]
fn binary_undoes_the_transfer_encoding_of_parts() {
    let (mut disk, message) = disk_with(CODED);
    for (item, value) in [
        ("BINARY.PEEK[1]", "{11}\r\nhello world"),
        ("BINARY.PEEK[1]<6.3>", "{3}\r\nwor"),
        ("BINARY.PEEK[1]<6>", "{5}\r\nworld"),
        ("BINARY.PEEK[1]<99.5>", "{0}\r\n"),
        ("BINARY.SIZE[1]", "11"),
        ("BINARY.PEEK[2]", "~{15}\r\ncafé au\r\nlait\0"),
        ("BINARY.PEEK[2]<0.5>", "{5}\r\ncafé"),
        ("BINARY.SIZE[2]", "15"),
        ("BINARY.PEEK[4]", "{11}\r\nplain\r\ntext"),
        ("BINARY.SIZE[4]", "11"),
        ("BINARY.PEEK[1.MIME]", "{37}\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
        ("BINARY.SIZE[1.MIME]", "37"),
        ("BINARY.PEEK[HEADER.FIELDS (MIME-VERSION)]", "{21}\r\nMIME-Version: 1.0\r\n\r\n"),
        ("BINARY.SIZE[HEADER.FIELDS (MIME-VERSION)]", "21"),
        ("BINARY.PEEK[9]", "NIL"),
        ("BINARY.SIZE[9]", "0"),
    ] {
        assert_eq!(section(&mut disk, &message, item, 0), value.as_bytes(), "{item}");
    }
    let whole = section(&mut disk, &message, "BINARY.PEEK[]", 0);
    assert_eq!(whole, literal(&crlf(CODED)));
    assert_eq!(section(&mut disk, &message, "BINARY.SIZE[]", 0), format!("{}", crlf(CODED).len()).as_bytes());
    for item in ["BINARY.PEEK[3]", "BINARY.SIZE[3]"] {
        let (page, rows, _) = page(&mut disk, wanted(core::slice::from_ref(&message), item), 0).unwrap();
        assert!(page.unknown_encoding && rows.len() == 1, "{item}");
    }
}

#[test]
fn large_binary_parts_are_decoded_on_their_way_out() {
    let octets: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let coded = crate::wire::base64::encode(&octets);
    let lines: Vec<&str> =
        coded.as_bytes().chunks(76).map(|line| core::str::from_utf8(line).unwrap()).collect();
    // The part is not padded, and what follows must not be taken for more of it.
    let body = lines.join("\n").trim_end_matches('=').to_string();
    let stored = format!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\
         Content-Transfer-Encoding: base64\n\n{body}\n--b\n\n{}\n--b--\n",
        "no NUL here\n".repeat(9000)
    );
    let (mut disk, message) = disk_with(stored.as_bytes());
    let expected =
        |octets: &[u8], nul: &str| [format!("{nul}{{{}}}\r\n", octets.len()).as_bytes(), octets].concat();
    assert_eq!(section(&mut disk, &message, "BINARY.PEEK[1]", 1), expected(&octets, "~"));
    let piece = section(&mut disk, &message, "BINARY.PEEK[1]<150000.999>", 1);
    assert_eq!(piece, expected(&octets[150_000..150_999], "~"));
    assert_eq!(section(&mut disk, &message, "BINARY.PEEK[1]<200000.9>", 0), b"~{0}\r\n");
    assert_eq!(section(&mut disk, &message, "BINARY.SIZE[1]", 0), b"200000");
    let text = crlf("no NUL here\n".repeat(9000).as_bytes());
    assert_eq!(section(&mut disk, &message, "BINARY.PEEK[2]", 1), expected(&text, ""));
}

#[test]
fn pieces_of_a_large_binary_part_cost_linear_time_in_total() {
    let octets: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let base64 = crate::wire::base64::encode(&octets);
    let lines = |width: usize, end: &str| {
        let lines: Vec<&str> =
            base64.as_bytes().chunks(width).map(|line| core::str::from_utf8(line).unwrap()).collect();
        lines.join(end)
    };
    let quoted: String = (0..20_000).map(|n| format!("caf=C3=A9 {n} =\n  au lait=00 \n")).collect();
    let unquoted: String = (0..20_000).map(|n| format!("café {n}   au lait\0\r\n")).collect();
    let plain = "no NUL, CR\r\r\nand LF\n".repeat(30_000);
    for (encoding, body, decoded) in [
        ("base64", lines(76, "\n"), octets.clone()),
        ("base64", lines(77, "\r\n"), octets.clone()),
        ("base64", lines(2_000_000, ""), octets.clone()),
        ("quoted-printable", quoted, unquoted.into_bytes()),
        ("8bit", plain.clone(), crlf(plain.as_bytes())),
        ("8bit", "x".repeat(500_000), "x".repeat(500_000).into_bytes()),
    ] {
        let stored = format!(
            "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\
             Content-Transfer-Encoding: {encoding}\n\n{body}\n--b\n\nend\n--b--\n"
        );
        let (mut disk, message) = disk_with(stored.as_bytes());
        let (whole, found) = in_pieces(&mut disk, &message, "BINARY.PEEK[1]", 64 * 1024);
        assert!(
            whole.starts_with(&decoded) && whole.len() <= decoded.len() + 2,
            "{encoding} {}",
            whole.len()
        );
        // Once to find the part, once to count it, and the way to each piece, of which a little is gone twice.
        let most = 4 * stored.len() + 4 * SMALL;
        assert!(found < most, "{encoding}: {found} octets read of {most}");
    }
}

#[test]
fn previews_save_dates_and_names_that_stay() {
    let (mut disk, message) = disk_with(MAIL);
    assert_eq!(row(&mut disk, &message, "PREVIEW", 0), b"PREVIEW \"Hello you\"");
    let mut id = Vec::new();
    crate::imap::objectid::EmailId::of(message.base()).write(&mut id);
    let expected = format!("EMAILID ({}) THREADID NIL", String::from_utf8(id).unwrap());
    assert_eq!(row(&mut disk, &message, "EMAILID THREADID", 0), expected.as_bytes());
    let saved = row(&mut disk, &message, "SAVEDATE", 0);
    assert!(
        saved.starts_with(b"SAVEDATE \"") && saved.len() == "SAVEDATE \"17-Jul-1996 02:44:25 +0000\"".len()
    );
    // A name that begins with a time tells it without a look at the file.
    let named = Message { file: b"1700000000.M1P2.mx:2,S"[..].into(), base_len: 19, ..message };
    let saved = row(&mut disk, &named, "SAVEDATE", 0);
    assert_eq!(saved, b"SAVEDATE \"14-Nov-2023 22:13:20 +0000\"");
    // What is behind the first 64 KiB is not read for it.
    let (mut disk, message) = disk_with(&[MAIL, &b"x\n".repeat(200_000)].concat());
    assert_eq!(row(&mut disk, &message, "PREVIEW", 0), b"PREVIEW \"Hello you\"");
    assert!(
        disk.counted_log().iter().filter(|op| op.starts_with("Read")).count() <= 2,
        "{:?}",
        disk.counted_log()
    );
}

//! What no client sends: each is refused at once, within bounds, and the connection goes on.

use super::bench::{Bench, setup};
use super::script::account;
use crate::auth::AuthVerdict;
use crate::imap::server::{Answer, Ask, Folder, Selected, SelectionId};
use crate::machine::{Input, Machine};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A session with three messages selected.
fn bench() -> Bench {
    let mut bench = Bench::new(setup());
    say(&mut bench, b"a LOGIN you secret\r\nb SELECT INBOX\r\n");
    bench.log.clear();
    bench
}

/// Sends in pieces as a socket gives them, and answers what is asked.
fn say(bench: &mut Bench, octets: &[u8]) {
    bench.bytes(octets, &mut || 16 * 1024);
    while let Some(ask) = bench.asked.pop() {
        bench.answer(match ask {
            Ask::Authenticate { ticket, .. } => {
                Answer::Authenticate(ticket.answer(AuthVerdict::Granted(account())))
            }
            Ask::Select { ticket, .. } => Answer::Select(ticket.answer(Ok(Selected {
                selection: SelectionId(1),
                uid_validity: 1,
                uid_next: 10,
                modseq: None,
                view: [3, 5, 9].into_iter().collect(),
                recent: Default::default(),
                first_unseen: None,
                keywords: Default::default(),
                read_only: false,
                guid: None,
            }))),
            Ask::Search { ticket, within, .. } => Answer::Search(ticket.answer(Ok(within))),
            Ask::Fetch { ticket, .. } => Answer::Fetch(ticket.answer(Ok(Default::default()))),
            Ask::List { ticket } => Answer::List(ticket.answer(Ok(folders()))),
            Ask::Changes { ticket, .. } => Answer::Changes(ticket.answer(Default::default())),
            other => panic!("{other:?} is not part of this"),
        });
    }
}

fn folders() -> Vec<Folder> {
    let folder = |number: usize| Folder {
        name: format!("{}{number:04}", "a".repeat(200)).into_bytes(),
        non_existent: false,
        subscribed: true,
        special_use: None,
    };
    (0..20).map(folder).collect()
}

/// What the command `x` is answered, after which the session is as good as before.
fn answer_to(octets: &[u8]) -> String {
    let mut bench = bench();
    say(&mut bench, octets);
    say(&mut bench, b"y NOOP\r\n");
    assert_eq!(
        bench.log.last().map(String::as_str),
        Some("S: y OK Noop completed"),
        "{:?}",
        octets.escape_ascii()
    );
    let answers: Vec<&String> =
        bench.log.iter().filter(|line| line.starts_with("S: x ") || line.starts_with("S: * BAD")).collect();
    assert_eq!(answers.len(), 1, "{:?}: {:?}", octets.escape_ascii(), bench.log);
    answers[0].strip_prefix("S: ").unwrap().into()
}

#[test]
fn each_is_refused_and_the_connection_goes_on() {
    let quoted = |name: &[u8]| [b"x CREATE \"", name, b"\"\r\n"].concat();
    let long_tag = [&[b'x'; 70_000][..], b" NOOP\r\n"].concat();
    for (octets, answer) in [
        // Sets: ten thousand times everything is more than a command may be; what fits costs one range.
        (format!("x FETCH {}1 FLAGS\r\n", "1:4294967295,".repeat(10_000)).into_bytes(), "x BAD [LIMIT] "),
        (
            format!("x FETCH {}1 FLAGS\r\n", "1:4294967295,".repeat(4_000)).into_bytes(),
            "x BAD There is no message",
        ),
        (format!("x UID FETCH {}1 FLAGS\r\n", "1:4294967295,".repeat(4_000)).into_bytes(), "x OK "),
        (format!("x SEARCH {}1\r\n", "1:4294967295,".repeat(4_000)).into_bytes(), "x OK "),
        (b"x FETCH 4294967296 FLAGS\r\n".to_vec(), "x BAD "),
        (b"x FETCH 0:* FLAGS\r\n".to_vec(), "x BAD "),
        // Patterns.
        (
            format!("x LIST \"\" {}\r\n", "*%".repeat(5_000)).into_bytes(),
            "x BAD LIST: expected shorter patterns",
        ),
        (
            format!("x LIST \"\" ({}a)\r\n", "a ".repeat(64)).into_bytes(),
            "x BAD LIST: expected 1 to 64 patterns",
        ),
        (
            format!("x LSUB \"\" {}\r\n", "*%".repeat(5_000)).into_bytes(),
            "x BAD LSUB: expected shorter patterns",
        ),
        // Nesting.
        (format!("x SEARCH {}ALL{}\r\n", "(".repeat(9_000), ")".repeat(9_000)).into_bytes(), "x BAD "),
        (format!("x SEARCH {}ALL\r\n", "NOT ".repeat(9_000)).into_bytes(), "x BAD "),
        (format!("x SEARCH {}ALL\r\n", "OR ALL ".repeat(9_000)).into_bytes(), "x BAD "),
        (format!("x SEARCH {}ALL\r\n", "ALL ".repeat(9_000)).into_bytes(), "x BAD "),
        (format!("x FETCH 1 BODY[{}1]\r\n", "1.".repeat(20_000)).into_bytes(), "x OK "),
        // Lines and octets.
        ([b"x NOOP ", &[b'a'; 1 << 20][..], b"\r\n"].concat(), "x BAD [LIMIT] "),
        ([b"x NOOP", &[b' '; 1 << 20][..], b"\r\n"].concat(), "x BAD [LIMIT] "),
        (b"x NO\0OP\r\n".to_vec(), "x BAD "),
        (b"x NOOP\0\r\n".to_vec(), "x BAD "),
        (b"x SEARCH SUBJECT \"a\0b\"\r\n".to_vec(), "x BAD "),
        (b"x SEARCH SUBJECT {3+}\r\na\0b\r\n".to_vec(), "x BAD "),
        (b"x SEARCH SUBJECT \"\xff\xfe\"\r\n".to_vec(), "x BAD "),
        (b"x \xc3\xa9\r\n".to_vec(), "x BAD "),
        (b"\xc3\xa9 NOOP\r\n".to_vec(), "* BAD "),
        (b"x+ NOOP\r\n".to_vec(), "x BAD "),
        (b" NOOP\r\n".to_vec(), "* BAD "),
        (b"\0\r\n".to_vec(), "* BAD "),
        (long_tag, "* BAD [LIMIT] "),
        // Literals that are not what they say.
        (b"x SELECT {1000000000}\r\n".to_vec(), "x BAD [LIMIT] "),
        (b"x SELECT {18446744073709551616}\r\n".to_vec(), "x BAD [LIMIT] "),
        ([b"x SELECT {100000+}\r\n", &[b'a'; 100_000][..], b"\r\n"].concat(), "x BAD [LIMIT] "),
        (b"x SELECT {-1}\r\n".to_vec(), "x BAD "),
        (b"x SELECT {}\r\n".to_vec(), "x BAD "),
        (b"x SELECT {3+}\r\nabcdef\r\n".to_vec(), "x BAD "),
        (b"x SELECT {3+\r\n".to_vec(), "x BAD "),
        (b"x SELECT ~{3+}\r\nabc\r\n".to_vec(), "x BAD "),
        (b"x APPEND INBOX {99999999999}\r\n".to_vec(), "x NO [TOOBIG] "),
        // Names.
        (b"x CREATE \"\"\r\n".to_vec(), "x NO [CANNOT] "),
        (quoted(b"a\tb"), "x NO [CANNOT] "),
        (quoted(b"a\x7fb"), "x NO [CANNOT] "),
        (quoted(b"&"), "x NO [CANNOT] "),
        (quoted(b"&AOk"), "x NO [CANNOT] "),
        (quoted(b"&AEE-"), "x NO [CANNOT] "),
        (quoted(b"&2D0-"), "x NO [CANNOT] "),
        (quoted(b"\xc3\xa9"), "x NO [CANNOT] "),
        (quoted(b"\xff"), "x NO [CANNOT] "),
        (b"x CREATE {4+}\r\na\r\nb\r\n".to_vec(), "x NO [CANNOT] "),
    ] {
        let told = answer_to(&octets);
        assert!(told.starts_with(answer), "{:?}: {told}", octets.get(..60).unwrap_or(&octets).escape_ascii());
    }
}

#[test]
fn patterns_that_cost_much_are_compared_a_few_names_at_a_time() {
    let mut bench = bench();
    // Each octet of a name may be at each place of each of these.
    let pattern = format!("*{}%{}b", "a".repeat(99), "a".repeat(99));
    let command = format!("x LIST \"\" ({})\r\n", alloc::vec![pattern; 10].join(" "));
    bench.bytes(command.as_bytes(), &mut || usize::MAX);
    let Some(Ask::List { ticket }) = bench.asked.pop() else { panic!("{:?}", bench.log) };
    bench.session.handle_input(
        Default::default(),
        Input::Answer(Answer::List(ticket.answer(Ok(folders())))),
        &mut bench.tx,
    );
    let mut steps = 0;
    while bench.session.handle_input(Default::default(), Input::Bytes(b""), &mut bench.tx).is_some() {
        steps += 1;
    }
    // Ten patterns of 201 places with a name of 204 octets are more than a step may cost.
    assert_eq!(steps, folders().len());
}

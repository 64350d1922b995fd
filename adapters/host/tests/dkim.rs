//! Signatures of ours, checked by dkimpy, which knows both algorithms and shares no code with us.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use postier_core::dkim::signer::Signer;
use postier_core::dkim::{Algorithm, Key, Keys, record};
use postier_core::wire::eol::ToCrlf;
use postier_host::dkim::PrivateKey;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dkim_verify.py");

fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let head = "From: Ann <ann@example.org>\nTo: bob@example.net\nSubject: Tea\n\
        Date: Tue, 24 Nov 2026 05:19:20 +0100\nMessage-ID: <1@example.org>\n";
    let with = |more: &str| format!("{head}{more}").into_bytes();
    let long = format!("\n{} {}\n", "x".repeat(5000), "y ".repeat(3000));
    vec![
        ("plain", with("\nAt five.\n")),
        ("no body", with("\n")),
        ("no body, no end of the header", with("")),
        ("no last line end", with("\nAt five.")),
        ("blank lines at the end", with("\nAt five.\n\n\n \n\t\n\n")),
        ("blank lines alone", with("\n\n\n\n")),
        ("blank lines within", with("\n\n\nAt\n\n \n\nfive.\n")),
        ("white space", with("\n  At \t  five. \t \n\t\tx  \n")),
        ("dots", with("\n.\n..\n.x\n")),
        ("eight bits", with("\nAt five, with caf\u{e9}.\n")),
        ("eight bits that are no UTF-8", [&with("\n")[..], b"\xff\xfe \x80\x00\n"].concat()),
        ("long lines", with(&long)),
        ("large", with(&format!("\n{}", "It was the best of times \n".repeat(20_000)))),
        ("folded fields", with("References: <1@a>\n\t<2@a>\n   \n <3@a>\nCc: a@b,\n  c@d\n\nx\n")),
        ("fields twice", with("Subject:again\nTO: joe@example.net\nSubject: \n\nx\n")),
        ("empty fields", with("In-Reply-To:\nReferences: \n\t\n\nx\n")),
        ("a list's fields", with("List-Id: <a.b>\nList-Unsubscribe: <mailto:x@y>\n\nx\n")),
        ("fields in UTF-8", with("Reply-To: J\u{fc}rgen <j\u{fc}rgen@example.org>\n\nx\n")),
        (
            "multipart",
            with(
                "MIME-Version: 1.0\nContent-Type: multipart/mixed;\n boundary=\"=_x\"\n\n--=_x\n\nx\n--=_x--\n",
            ),
        ),
    ]
}

/// What dkimpy says of each message.
fn verify(messages: &[Vec<u8>], records: &Path) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let mut python = Command::new("python3");
    python.arg(SCRIPT).arg(records);
    for (n, message) in messages.iter().enumerate() {
        let path = dir.path().join(n.to_string());
        std::fs::write(&path, message).unwrap();
        python.arg(path);
    }
    let output = python.output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs Python's dkimpy and PyNaCl"]
fn dkimpy_finds_every_signature_good() {
    let dir = tempfile::tempdir().unwrap();
    let records = dir.path().join("records");
    let (mut keys, mut lines) = (Keys::default(), String::new());
    for (selector, algorithm) in [("1r", Algorithm::RsaSha256), ("1e", Algorithm::Ed25519Sha256)] {
        let (key, _) = PrivateKey::generate(algorithm).unwrap();
        let text = record::text(algorithm, &key.public_key());
        lines.push_str(&format!("{} {text}\n", record::name(selector, "example.org")));
        keys.insert("example.org", Key { selector: selector.into(), algorithm, signer: Arc::new(key) });
    }
    std::fs::write(&records, lines).unwrap();
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    for (what, stored) in messages() {
        let mut signer = Signer::new();
        stored.chunks(1000).for_each(|chunk| signer.feed(chunk));
        let signed = signer.finish(&keys, 1_764_000_000).unwrap_or_else(|why| panic!("{what}: {why:?}"));
        let mut octets = Vec::new();
        ToCrlf::new().feed(&[&signed.fields[..], &stored].concat(), &mut octets);
        // Another field that readers would act on, or another end, breaks it.
        for extra in ["Subject: Money\r\n", "From: eve@example.org\r\n", "Reply-To: eve@example.com\r\n"] {
            sent.push([extra.as_bytes(), &octets].concat());
            expected.push(format!("{what} with {extra}: bad"));
        }
        sent.push([&octets, &b"\r\n\r\nPS: Money\r\n"[..]].concat());
        expected.push(format!("{what} with another end: bad"));
        sent.push(octets);
        expected.push(format!("{what}: 2"));
    }
    let verdicts = verify(&sent, &records);
    let found = expected.iter().zip(verdicts);
    let found: Vec<String> =
        found.map(|(line, verdict)| format!("{}: {verdict}", line.rsplit_once(": ").unwrap().0)).collect();
    assert_eq!(found, expected);
}

//! Vectors made by crypt(3) of glibc's libcrypt, by Python's hashlib, by the argon2 reference library and by Dovecot 2.3,
//! all of the password "correct horse".

use super::*;

const VECTORS: &[&str] = &[
    "{ARGON2ID}$argon2id$v=19$m=1024,t=2,p=2$c2FsdHNhbHRzYWx0c2FsdA$/ZLeeEdvUYpPhmNVfaaZPDWlJhn56NfRJekEhmpE3pU",
    "{ARGON2I}$argon2i$v=19$m=1024,t=2,p=2$c2FsdHNhbHRzYWx0c2FsdA$5SpZuXP0TGXUyRU0K/Noa2bftFxEI7Y7f8U9SS5IhKs",
    "{SHA512-CRYPT}$6$saltstring$.r0X7ub5wGR2v4Xz7svCIozfnlorFh19V89t8KC9Umd81uGhFgsyTRNyzQDXDIm17fFcR9z3z7oBNdsyYBbtm/",
    "{CRYPT}$6$rounds=5000$abc$dv7vAygfDghQeO8lNAuLv4y4HAQXw9d6a14dcjFGfTijFc0S6MgzM7g53hZv6MaGDXhNpGxhpXakWuTlqHtzn.",
    "{sha256-crypt}$5$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC",
    "$5$rounds=1234$xyz$XyUqojHH3fKnr5jNxzj7Gjk8JYh4mAISrhu.moLIO6B",
    "{BLF-CRYPT}$2b$06$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC",
    "{CRYPT}$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
    "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$zwtVrjrUCmXcyLTs6oxLTQlzifSUkF8RHJ./tK5KU79",
    "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=",
    "{SHA1.hex}2f9e53523b62abc141a2b4d6019d23cba835dbd0",
    "{SHA}2f9e53523b62abc141a2b4d6019d23cba835dbd0",
    "{SSHA}LhKrkM9Fy+zlstjdD7Kv2s6QvhBzYWx0",
    "{SHA256}QQTTb42iwlQ0n4WDZ5Pr4CngyVcGOjTJHC6SAxh7VjE=",
    "{SSHA256.b64}n+NyCAC8BTzorAU7AQEsEfh4qDAh0HpRtPLX0dsQdApzYWx0",
    "{SHA512}VraY3v7bWkNbY0r+MyC7rz/c2SC2xQOkRvx7endrKY1HnRumqLYXgI6wv1ec6aldZoNHvKtxSQhayTyyeZUZew==",
    "{SSHA512}MObRFvUHqU5pLIXjc0HkeJH+PKVdEQk34oSyXkDftCxTU6Fk9rWjilWA553MtCFyazGhAOPiDyO1Rv1hndA96XNhbHQ=",
    "{PLAIN}correct horse",
    "{CLEARTEXT.base64}Y29ycmVjdCBob3JzZQ==",
    // By `doveadm pw`:
    "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$B+2qExwejtlc7w/4CleGHw$dP6vBQ+dIliaRicD8S2p7u35//nYYNXE2E6qq2IyWkk",
    "{BLF-CRYPT}$2y$05$qpXbtgpCU782Q1qmtwC3qObLlfTmM3If442SjC5IJYEicAP719DcS",
    "{SSHA512.HEX}114122bae2db8d50584225d6f42b309f00fe9391e149df29db8a4ab6641b59a7e8956d3c83e5d3340e68c6e79fbbc9e53516f913a3967aac1f0ff6fbcc934644028b0da7",
    "{SCRAM-SHA-256}4096,rs+dPE+pp3dBeWqVYurwHw==,tW2IbOGw620BntR+3dvGstsbl5CgMVF02UCGbCfrl9c=,UdiWugQIIwfhVq2xTvdWLCxA2UHRNnDWR+os5WZ2qzE=",
    "{PLAIN.HEX}636f727265637420686f727365",
];

#[test]
fn every_scheme_takes_its_password_and_no_other() {
    for vector in VECTORS {
        let stored = StoredHash::parse(vector.as_bytes()).unwrap_or_else(|error| panic!("{vector}: {error}"));
        assert!(stored.verify(b"correct horse"), "{vector}");
        assert!(!stored.verify(b"correct horsE"), "{vector}");
        assert!(!stored.verify(b""), "{vector}");
    }
}

#[test]
fn our_own_hashes_verify() {
    let stored = super::super::hash_password(b"pw");
    assert!(stored.starts_with("{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    assert!(StoredHash::parse(stored.as_bytes()).unwrap().verify(b"pw"));
    let verifier = super::super::make_scram(b"pw").unwrap();
    assert!(StoredHash::parse(super::super::format_scram(&verifier).as_bytes()).unwrap().verify(b"pw"));
}

#[test]
fn what_cannot_be_checked_is_named() {
    let message = |field: &str| StoredHash::parse(field.as_bytes()).err().map(|error| error.to_string());
    let unknown = |name| Some(format!("the password scheme {{{name}}} is not supported"));
    assert_eq!(message("{CRAM-MD5}abc"), unknown("CRAM-MD5"));
    assert_eq!(message("{plain-md5}abc"), unknown("PLAIN-MD5"));
    assert_eq!(message("{CRYPT}aXyv7dPVPzWu."), unknown("DES-CRYPT"));
    assert_eq!(message("$1$ab$.ThsTrbyIbEahEdE8LNwj1"), unknown("MD5-CRYPT"));
    assert_eq!(message("{SSHA.rot13}abc"), unknown("SSHA.ROT13"));
    assert_eq!(message("hunter2").unwrap(), "the password has no scheme");
    assert_eq!(message("{SSHA}YWJj").unwrap(), "the {SSHA} hash is malformed: it has the wrong length");
    assert_eq!(
        message(
            "{ARGON2ID}$argon2i$v=19$m=1024,t=2,p=2$c2FsdHNhbHRzYWx0c2FsdA$5SpZuXP0TGXUyRU0K/Noa2bftFxEI7Y7"
        )
        .unwrap(),
        "the {ARGON2ID} hash is malformed: it is of another scheme"
    );
    assert_eq!(
        message("{ARGON2ID}$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHQ$aGFzaA").unwrap(),
        "the {ARGON2ID} hash is malformed: it asks for more than 1 GiB of memory"
    );
    for vector in VECTORS {
        let half = &vector[..vector.len() / 2];
        if !vector.contains("PLAIN") && !vector.contains("CLEAR") {
            assert!(message(half).is_some(), "{half}");
        }
    }
}

#[test]
fn locked_fields_let_nobody_in() {
    for field in ["", "*", "!", "!!", "!{PLAIN}correct horse"] {
        let stored = StoredHash::parse(field.as_bytes()).unwrap();
        assert!(stored.is_locked() && !stored.verify(b"correct horse") && !stored.verify(b""), "{field}");
    }
}

proptest::proptest! {
    #[test]
    fn any_field_is_read_without_panic(
        scheme in "(|\\{[A-Z0-9.-]{0,16}\\}|\\$[a-z0-9]{0,8}\\$)", rest in "[ -~é]{0,60}"
    ) {
        // Reading only: a random cost parameter could take a year to verify.
        let _ = StoredHash::parse(format!("{scheme}{rest}").as_bytes());
    }
}

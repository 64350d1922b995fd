use alloc::format;
use alloc::string::String;

use super::*;
use crate::mime::structure_parser::StructureParser;

fn show(message: &str, extended: bool) -> String {
    let mut parser = StructureParser::new();
    parser.feed(message.as_bytes());
    let mut out = Vec::new();
    write(&mut out, &parser.finish(), extended);
    String::from_utf8_lossy(&out).into_owned()
}

/// The sample of RFC 3501 §8: 3028 octets, 92 lines.
#[test]
fn rfc3501_sample_session() {
    let body = format!("{}\n{}", "x".repeat(3028 - 2 * 92), "\n".repeat(91));
    let message = format!("MIME-Version: 1.0\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\n\n{body}");
    let expected = r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7bit" 3028 92)"#;
    assert_eq!(show(&message, false), expected);
}

/// The examples of RFC 3501 §7.4.2, BODYSTRUCTURE.
#[test]
fn rfc3501_two_parts() {
    let text = format!("{}\n{}", "x".repeat(1152 - 2 * 23), "\n".repeat(22));
    let diff = format!("{}\n{}", "x".repeat(4554 - 2 * 73), "\n".repeat(72));
    let message = format!(
        "MIME-Version: 1.0\nContent-Type: MULTIPART/MIXED; BOUNDARY=b\n\n--b\n\
            Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\nContent-Transfer-Encoding: 7BIT\n\n{text}\n--b\n\
            Content-Type: TEXT/PLAIN; CHARSET=US-ASCII; NAME=\"cc.diff\"\n\
            Content-ID: <960723163407.20117h@cac.washington.edu>\nContent-Description: Compiler diff\n\
            Content-Transfer-Encoding: BASE64\n\n{diff}\n--b--\n"
    );
    let expected = concat!(
        r#"(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23)"#,
        r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII" "NAME" "cc.diff") "<960723163407.20117h@cac.washington.edu>" "#,
        r#""Compiler diff" "BASE64" 4554 73) "MIXED")"#
    );
    assert_eq!(show(&message, false), expected);
}

#[test]
fn all_extension_data() {
    let message = "MIME-Version: 1.0\nContent-Type: multipart/related; boundary=b; type=\"text/html\"\n\
        Content-Language: de\nContent-Location: http://x.test/\n\n--b\n\
        Content-Type: image/png; name=a.png\nContent-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\n\
        Content-Disposition: attachment; filename*0*=utf-8''%C3%A9; filename*1=.png; size=3\n\
        Content-Language: en, fr (French)\nContent-Location: a.png\n\nabc\n--b\n\
        Content-Type: message/rfc822\nContent-Disposition: inline\n\nFrom: a@b\n\nx\n\n--b--\n";
    let expected = concat!(
        r#"(("image" "png" ("name" "a.png") NIL NIL "7bit" 3 "Q2hlY2sgSW50ZWdyaXR5IQ==" "#,
        r#"("attachment" ("size" "3" "filename*" "utf-8''%C3%A9.png")) ("en" "fr") "a.png")"#,
        r#"("message" "rfc822" NIL NIL NIL "7bit" 16 (NIL NIL ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) "#,
        r#"((NIL NIL "a" "b")) NIL NIL NIL NIL NIL) "#,
        r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 1 NIL NIL NIL NIL) 3 NIL ("inline" NIL) NIL NIL) "#,
        r#""related" ("boundary" "b" "type" "text/html") NIL ("de") "http://x.test/")"#
    );
    assert_eq!(show(message, true), expected);
}

#[test]
fn what_is_no_mime_has_no_content_fields() {
    let message = |more: &str| format!("{more}Content-ID: x\nContent-Transfer-Encoding: base64\n\nx");
    let (plain, mime) = (
        r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0)"#,
        r#"("text" "plain" ("charset" "us-ascii") "x" NIL "base64" 1 0)"#,
    );
    assert_eq!(show(&message(""), false), plain);
    assert_eq!(show(&message("MIME-Version: 1.0\n"), false), mime);
    assert_eq!(show(&message("Content-Type: text/plain\n"), false), mime);
}

#[test]
fn odd_types() {
    let leaf = |content_type: &str| show(&format!("Content-Type: {content_type}\n\nx"), false);
    assert_eq!(
        leaf("text/html; format=flowed"),
        r#"("text" "html" ("format" "flowed" "charset" "us-ascii") NIL NIL "7bit" 1 0)"#
    );
    assert_eq!(leaf("text/x; charset*=''utf-8"), r#"("text" "x" ("charset*" "''utf-8") NIL NIL "7bit" 1 0)"#);
    assert_eq!(leaf("TEXT"), r#"("TEXT" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0)"#);
    assert_eq!(leaf("image"), r#"("image" "unknown" NIL NIL NIL "7bit" 1)"#);
    assert_eq!(leaf("; a=b"), r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0)"#);
    assert_eq!(leaf("multipart/mixed"), r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0)"#);
    assert_eq!(
        leaf("multipart/; boundary=b"),
        r#"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "x-unknown")"#
    );
    let empty = show("Content-Type: multipart/x; boundary=b\n\n", true);
    assert_eq!(
        empty,
        concat!(
            r#"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL) "x" "#,
            r#"("boundary" "b") NIL NIL NIL)"#
        )
    );
    assert!(leaf("Message/GLOBAL").starts_with(r#"("message" "global" NIL NIL NIL "7bit" 1 (NIL"#));
    assert!(leaf("/plain").starts_with(r#"("text" "plain" ("charset" "us-ascii")"#));
    assert!(leaf("text/plain charset=x").starts_with(r#"("text" "plain" ("charset" "us-ascii")"#));
    assert!(
        show("Content-Type: a/b\nContent-Disposition: ; filename=x\n\n", true)
            .contains(r#" NIL ("" ("filename" "x")) NIL NIL)"#)
    );
    assert_eq!(
        leaf("message/rfc822\nContent-Transfer-Encoding: quoted-printable"),
        r#"("application" "octet-stream" NIL NIL NIL "quoted-printable" 1)"#
    );
    assert_eq!(leaf("message/delivery-status"), r#"("message" "delivery-status" NIL NIL NIL "7bit" 1)"#);
    assert_eq!(leaf("a/b; c=\"d\u{e9}\""), "(\"a\" \"b\" (\"c\" {3}\r\nd\u{e9}) NIL NIL \"7bit\" 1)");
}

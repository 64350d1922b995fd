//! Odd messages, each about one thing. They are stored as they stand here, and once more with CRLF line ends.

use super::Case;

const MIME: &str = "MIME-Version: 1.0\n";

/// Header fields for an envelope.
const ENVELOPES: &[(&str, &str)] = &[
    ("nothing", ""),
    (
        "plain",
        "From: a@b.test\nTo: c@d.test\nSubject: x\nDate: Thu, 1 Feb 2024 03:04:05 +0100\nMessage-ID: <1@b.test>\nIn-Reply-To: <0@b.test>\n",
    ),
    (
        "empty fields",
        "From:\nTo: \nCc:\t\nBcc:\nSender:\nReply-To:\nSubject:\nDate:\nMessage-ID:\nIn-Reply-To:\n",
    ),
    ("only spaces", "Subject:    \nDate:    \n    \n"),
    ("from and sender", "From: a@b\nSender: s@b\nReply-To: r@b, r2@b\n"),
    ("from twice", "From: a@b\nFrom: c@d\n"),
    ("to three times", "To: a@b\nX: y\nTo: c@d,\nTO: e@f\n"),
    ("subject twice", "Subject: one\nSubject: two\n"),
    (
        "date twice",
        "Date: one\nDate: two\nMessage-ID: <a>\nMessage-ID: <b>\nIn-Reply-To: <c>\nIn-Reply-To: <d>\n",
    ),
    (
        "names",
        "From: Joe Q. Public <john.q.public@example.com>\nTo: \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>\n",
    ),
    ("name with dots", "From: J. R. R. Tolkien <a@b>\nTo: St. John <a@b>, Dr.Who <c@d>\n"),
    ("group", "To: A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;\n"),
    (
        "empty group",
        "To: undisclosed-recipients:;\nCc: Undisclosed recipients: ;\nFrom: (c)Hidden recipients  :(nobody(that I know))  ;\n",
    ),
    ("group and more", "To: a@b, G: c@d; , e@f\n"),
    ("quoted group", "To: \"A, B\": c@d;\n"),
    ("group without end", "To: G: a@b, c@d\n"),
    ("two groups", "To: G: a@b;, H: c@d;\nCc: G: a@b; H: c@d;\n"),
    (
        "comments",
        "From: Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>\nTo: a@b (Joe), c@d (Ann (the other))\n",
    ),
    ("comment only", "To: (nobody)\nFrom: a@b\n"),
    ("comment with quote", "To: a@b (Joe \"x\" Doe)\n"),
    ("comment before", "To: (Joe) a@b\n"),
    ("two comments", "To: a@b (one) (two)\n"),
    (
        "route",
        "To: <@a.test,@b.test:c@d.test>\nCc: Mary <@node.test:mary@example.net>, , jdoe@test  . example\n",
    ),
    ("routes", "To: <@a,,@b:c@d>, <@a:>, <@a>, <@a:b>\n"),
    ("quoted local part", "To: \"john doe\"@x.test, <\"a\\\"b\"@x.test>, \"a.b\"@c\n"),
    ("domain literal", "To: joe@[127.0.0.1], <ann@[IPv6:::1]>\n"),
    ("empty angle", "To: <>\nFrom: Joe <>\n"),
    ("no domain", "To: joe\nFrom: Joe Public\nCc: Joe <joe>\n"),
    ("no local part", "To: @x.test\nFrom: Joe <@x.test>\n"),
    ("no close", "To: Joe <joe@x.test, ann@y.test\nCc: Joe <joe@x.test\n"),
    ("no quote", "To: \"Joe <joe@x.test>, ann@y.test\n"),
    ("open comment", "To: Joe (oh <joe@x.test>, ann@y.test\n"),
    ("at in name", "To: joe@x.test <joe@x.test>\nFrom: joe@x <joe@x>\n"),
    ("commas", "To: ,,a@b,,c@d,,\n"),
    ("semicolons", "To: a@b; c@d\nCc: a@b;c@d;\n"),
    ("two ats", "To: a@b@c\n"),
    ("words after", "To: a@b c@d\nCc: a@b foo\n"),
    ("angle after angle", "To: <<a@b>>\nCc: A <a@b> B <c@d>\n"),
    ("brackets", "To: [x] <a@b>\nFrom: Joe [x] <a@b>\n"),
    ("colon in name", "To: Re: Joe <a@b>\nFrom: Mr: Joe <a@b>\n"),
    ("slash and plus", "To: a+b/c=d@e\n"),
    ("dots", "To: .a@b, a.@b, a..b@c, a@b., a@.b, a@b..c\n"),
    ("spaces around at", "To: a @ b, c . d @ e . f\n"),
    ("8-bit", "From: J\u{f6}rg <j@x.test>\nSubject: Gr\u{fc}\u{df}e\nTo: j\u{f6}rg@x.test\n"),
    ("latin1", "From: J\u{1}rg\nSubject: x\u{7f}y\n"),
    (
        "encoded words",
        "From: =?utf-8?q?J=C3=B6rg?= <j@x.test>\nSubject: =?utf-8?b?w6k=?= =?utf-8?q?=C3=A9?=\nTo: \"=?utf-8?q?J=C3=B6rg?=\" <j@x.test>, a@b (=?utf-8?q?J=C3=B6rg?=)\n",
    ),
    (
        "folded",
        "Subject: a\n b\n\tc\n  d\nFrom: Joe\n Public\n <a@b>\nTo: a@b,\n c@d,\n\te@f\nMessage-ID:\n <x@y>\nDate: Thu,\n 1 Feb 2024\n",
    ),
    ("folded words", "Subject: =?utf-8?q?a?=\n =?utf-8?q?b?=\n"),
    ("blank continuation", "Subject: a\n \n b\nFrom: a@b\n"),
    ("inner spaces", "Subject: a  b   c\t\td \nFrom: Joe   Public  <a@b>\nDate: 1  Feb   2024\n"),
    ("backslashes", "Subject: a\\b\"c\nFrom: \"a\\\\b\" <c@d>\nTo: a\\b <c@d>\nMessage-ID: <\"a\\b\"@c>\n"),
    ("space before colon", "Subject : x\nFrom : a@b\nTo\t: c@d\n"),
    ("no space after colon", "Subject:x\nFrom:a@b\n"),
    ("junk lines", "From joe Mon Sep 17 10:00:00 2001\nSubject: x\njunk\nFrom: a@b\n: y\nTo: c@d\n"),
    ("mbox junk", ">From joe\nSubject: x\n"),
    ("first line folded", " folded\nSubject: x\n"),
    ("name with space", "Sub ject: x\nFrom: a@b\n"),
    ("case", "SUBJECT: x\nfrom: a@b\nmessage-id: <x>\n"),
    ("not ids", "Message-ID: no brackets at all\nIn-Reply-To: your mail of \"Monday\" <x@y>\n"),
    ("comment in date", "Date: Thu, 1 Feb 2024 03:04:05 +0100 (CET)\n"),
];

/// Header fields of a single part, after MIME-Version.
const TYPES: &[&str] = &[
    "",
    "Content-Type: text/plain\n",
    "Content-Type: TEXT/Plain; CHARSET=UTF-8\n",
    "Content-Type: text/plain; charset=us-ascii (Plain text)\n",
    "Content-Type: text/plain; charset=\"no such charset\"\n",
    "Content-Type: text/plain; charset=\n",
    "Content-Type: text/plain; charset=\"\"\n",
    "Content-Type: text/plain;\n",
    "Content-Type: text/plain;;; charset=utf-8;;\n",
    "Content-Type: text/plain charset=utf-8\n",
    "Content-Type: text/plain, charset=utf-8\n",
    "Content-Type: text/plain; charset = utf-8 ; format = flowed\n",
    "Content-Type: text / plain; charset=utf-8\n",
    "Content-Type: text (x) / (y) plain (z); (u) charset (v) = (w) utf-8\n",
    "Content-Type: text\n",
    "Content-Type: text/\n",
    "Content-Type: /plain\n",
    "Content-Type: /\n",
    "Content-Type:\n",
    "Content-Type: ;charset=utf-8\n",
    "Content-Type: text/plain/x\n",
    "Content-Type: image\n",
    "Content-Type: multipart\n",
    "Content-Type: message\n",
    "Content-Type: application/octet-stream; name=a b.bin\n",
    "Content-Type: application/octet-stream; name=a.bin; name=b.bin\n",
    "Content-Type: application/octet-stream; name=\"a \\\"b\\\" \\\\c\"\n",
    "Content-Type: application/octet-stream; name=\"a.bin\n",
    "Content-Type: application/octet-stream; name='a b'\n",
    "Content-Type: application/octet-stream; name=J\u{f6}rg\n",
    "Content-Type: application/octet-stream; name=\"J\u{f6}rg\"\n",
    "Content-Type: application/octet-stream; name=\"=?utf-8?q?J=C3=B6rg?=\"\n",
    "Content-Type: application/octet-stream; name==?utf-8?q?J=C3=B6rg?=\n",
    "Content-Type: application/octet-stream; name=a[1].bin\n",
    "Content-Type: application/octet-stream; name=a/b.bin\n",
    "Content-Type: application/octet-stream; name=a=b\n",
    "Content-Type: application/octet-stream; name=a@b\n",
    "Content-Type: application/octet-stream; name=(c)a\n",
    "Content-Type: application/octet-stream; name=a(c)b\n",
    "Content-Type: application/octet-stream; name\n",
    "Content-Type: application/octet-stream; =x\n",
    "Content-Type: application/octet-stream; a b=c\n",
    "Content-Type: application/octet-stream; name=\"a\"b\n",
    "Content-Type: application/octet-stream; name=\"a\" \"b\"\n",
    "Content-Type: application/octet-stream; name=\"a\n b\"\n",
    "Content-Type: application/octet-stream; name=\"a\n\tb\"\n",
    "Content-Type: application/octet-stream;\n\tname=a\n",
    "Content-Type: application/octet-stream; name*=utf-8''J%C3%B6rg\n",
    "Content-Type: application/octet-stream; name*=utf-8'de'J%C3%B6rg; name=Joerg\n",
    "Content-Type: application/octet-stream; name*0=a; name*1=b\n",
    "Content-Type: application/octet-stream; name*0=\"a \"; name*1=\"b\"\n",
    "Content-Type: application/octet-stream; name*1=b; name*0=a\n",
    "Content-Type: application/octet-stream; name*0*=utf-8''a%20; name*1*=b%20; name*2=\"c'd e%\"\n",
    "Content-Type: application/octet-stream; name*0=a%20; name*1*=b%20\n",
    "Content-Type: application/octet-stream; name*0=a; name*2=c\n",
    "Content-Type: application/octet-stream; name*1=a; name*2=c\n",
    "Content-Type: application/octet-stream; name*0=a; name*0=b; name*1=c\n",
    "Content-Type: application/octet-stream; name*0=a\n",
    "Content-Type: application/octet-stream; name*00=a; name*01=b\n",
    "Content-Type: application/octet-stream; name*x=a; name*=b; *0=c; *=d\n",
    "Content-Type: application/octet-stream; NAME*0=a; name*1=b; x=y; Name*2=c\n",
    "Content-Type: application/octet-stream; a*0=1; b*0=2; a*1=3; b*1=4; c=5\n",
    "Content-Type: application/octet-stream; name*0=a; name*1=b; name*2=c; name*3=d; name*4=e; name*5=f; name*6=g; name*7=h; name*8=i; name*9=j; name*10=k; name*11=l\n",
    "Content-Type: image/gif\nContent-Type: text/html\n",
    "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n",
    "Content-Transfer-Encoding: base64\n",
    "Content-Transfer-Encoding: BASE64 (x)\n",
    "Content-Transfer-Encoding: \"base64\"\n",
    "Content-Transfer-Encoding: base64; x=y\n",
    "Content-Transfer-Encoding: quoted printable\n",
    "Content-Transfer-Encoding: x-uuencode\n",
    "Content-Transfer-Encoding:\n",
    "Content-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: base64\n",
    "Content-ID: <1@x>\nContent-Description: a  b\n c\nContent-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\nContent-Location: http://x.test/\n a\n",
    "Content-ID:\nContent-Description:\nContent-MD5:\nContent-Location:\nContent-Disposition:\nContent-Language:\n",
    "Content-ID: <1@x>\nContent-ID: <2@x>\nContent-Description: one\nContent-Description: two\n",
    "Content-ID: no brackets (c)\nContent-MD5: a b (c)\nContent-Location: (c) a b\n",
    "Content-Description: =?utf-8?q?J=C3=B6rg?=\n",
    "Content-Description: J\u{f6}rg\n",
    "Content-Disposition: attachment\n",
    "Content-Disposition: ATTACHMENT; FileName=\"a b\"; size=3\n",
    "Content-Disposition: attachment; filename=my file.txt\n",
    "Content-Disposition: attachment; filename=my file (1).txt; size=3\n",
    "Content-Disposition: \"attachment\"; filename=x\n",
    "Content-Disposition: filename=x\n",
    "Content-Disposition: ; filename=x\n",
    "Content-Disposition: in line\n",
    "Content-Disposition: attachment; filename*0*=utf-8''a; filename*1=b.pdf; filename=x\n",
    "Content-Disposition: attachment; filename*=iso-8859-1''%e9%zz\n",
    "Content-Disposition: inline\nContent-Disposition: attachment; filename=x\n",
    "Content-Disposition: attachment; filename=\"a;b\"; filename=\"c\"\n",
    "Content-Disposition: attachment; creation-date=\"Wed, 12 Feb 1997 16:29:51 -0500\"\n",
    "Content-Language: de\n",
    "Content-Language: de, en (x), fr-CH\n",
    "Content-Language: de en\n",
    "Content-Language: ,\n",
    "Content-Language: i-default,,x\nContent-Language: it\n",
    "Content-Language: \"de\"\n",
    "Content-Type: message/rfc822\n",
    "Content-Type: Message/RFC822; x=y\n",
    "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n",
    "Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n",
    "Content-Type: message/global\n",
    "Content-Type: message/partial; id=x; number=1\n",
    "Content-Type: message/delivery-status\n",
    "Content-Type: message/external-body; access-type=URL\n",
    "Content-Type: message/news\n",
    "Content-Type: multipart/mixed\n",
    "Content-Type: multipart/mixed; boundary=\"\"\n",
    "Content-Type: multipart/mixed; boundary=b\n",
    "Content-Type: multipart/mixed; boundary=b; boundary=c\n",
    "Content-Type: multipart/; boundary=b\n",
    "Content-Type: multipart; boundary=b\n",
    "Content-Type: multipart/digest; boundary=b\n",
    "Content-Type: multipart/mixed; boundary*=us-ascii''b\n",
    "Content-Type: multipart/mixed; boundary*0=b; boundary*1=c\n",
    "Content-Type: multipart/mixed; boundary=\"b \"\n",
    "Content-Type: multipart/mixed; BOUNDARY=b; x*=y\nContent-Disposition: inline; a=b\nContent-Language: de\nContent-Location: x\nContent-ID: <1>\nContent-Description: d\nContent-MD5: m\n",
    "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n",
    "Content-Type: multipart/mixed; boundary=\"a\n b\"\n",
];

/// What follows such a header: seen by a type that has parts, text to the others.
const BODIES: &[(&str, &str)] = &[
    ("nothing", ""),
    ("text", "\nHello\nyou\n"),
    ("parts", "\npreamble\n--b\n\none\n--b\nSubject: two\n\ntwo\n--b--\nepilogue\n"),
];

/// Bodies of a `multipart/mixed; boundary=b`.
const MULTIPARTS: &[(&str, &str)] = &[
    ("nothing", ""),
    ("empty", "\n"),
    ("no boundary", "\ntext\n"),
    ("only end", "\n--b--\n"),
    ("end without line end", "\n--b\n\none\n--b--"),
    ("no end", "\n--b\n\none\n--b\n\ntwo\n"),
    ("no end, no line end", "\n--b\n\none"),
    ("empty parts", "\n--b\n--b\n\n--b\n\n\n--b--\n"),
    ("empty part without header", "\n--b\n\n--b\n\n--b--"),
    ("boundary at once", "--b\n\none\n--b--\n"),
    ("boundary in header", "Subject: x\n--b\n\none\n--b--\n"),
    ("part header without body", "\n--b\nContent-Type: image/gif\n--b\nX: y\n--b--\n"),
    ("part without header", "\n--b\nno header here\n--b--\n"),
    ("spaces after", "\n--b  \n\none\n--b\t\n\ntwo\n--b-- \n"),
    ("words after", "\n--bcd\n\none\n--b x\n\ntwo\n--b--x\n"),
    ("space before", "\n --b\n\none\n--b\n\ntwo\n--b--\n"),
    ("one dash", "\n-b\n\none\n--b\n\ntwo\n--b-\n\nthree\n--b--\n"),
    ("after the end", "\n--b\n\none\n--b--\n--b\n\ntwo\n--b--\n"),
    ("two ends", "\n--b\n\none\n--b--\n--b--\nx\n"),
    ("epilogue", "\npre\n\n--b\n\none\n\n--b--\n\nepilogue\n\n"),
    (
        "nested",
        "\n--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\none\n--c\nContent-Type: text/html\n\ntwo\n--c--\n--b\n\nthree\n--b--\n",
    ),
    (
        "nested without end",
        "\n--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\none\n--b\n\ntwo\n--b--\n",
    ),
    ("nested without parts", "\n--b\nContent-Type: multipart/alternative; boundary=c\n\n--b\n\ntwo\n--b--\n"),
    (
        "nested, no header end",
        "\n--b\nContent-Type: multipart/alternative; boundary=c\n--c\n\none\n--c--\n--b--\n",
    ),
    (
        "nested, same boundary",
        "\n--b\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--b--\n--b\n\ntwo\n--b--\n",
    ),
    (
        "nested, longer boundary",
        "\n--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\n\none\n--bb--\n--b\n\ntwo\n--b--\n",
    ),
    (
        "nested, shorter boundary",
        "\n--b\nContent-Type: multipart/alternative; boundary=\"\"\n\n--\n\none\n----\n--b\n\ntwo\n--b--\n",
    ),
    (
        "nested, no boundary",
        "\n--b\nContent-Type: multipart/alternative\n\n--c\n\none\n--c--\n--b\n\ntwo\n--b--\n",
    ),
    (
        "nested, ended outside",
        "\n--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\none\n--b--\n--c\n\ntwo\n--c--\n",
    ),
    ("message", "\n--b\nContent-Type: message/rfc822\n\nFrom: a@b\nSubject: inner\n\nbody\n--b--\n"),
    ("message without header", "\n--b\nContent-Type: message/rfc822\n\n\nbody\n--b--\n"),
    ("message without body", "\n--b\nContent-Type: message/rfc822\n\nSubject: inner\n--b--\n"),
    (
        "message with nothing",
        "\n--b\nContent-Type: message/rfc822\n\n--b\nContent-Type: message/rfc822\n--b--\n",
    ),
    (
        "message in message",
        "\n--b\nContent-Type: message/rfc822\n\nSubject: 1\nContent-Type: message/rfc822\nMIME-Version: 1.0\n\nSubject: 2\nMIME-Version: 1.0\nContent-Type: message/rfc822\n\nSubject: 3\n\nend\n--b--\n",
    ),
    (
        "message of parts",
        "\n--b\nContent-Type: message/rfc822\n\nSubject: 1\nContent-Type: multipart/mixed; boundary=c\nMIME-Version: 1.0\n\n--c\n\none\n--c\n\ntwo\n--c--\n--b\n\nthree\n--b--\n",
    ),
    (
        "message of unended parts",
        "\n--b\nContent-Type: message/rfc822\n\nSubject: 1\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--b\n\nthree\n--b--\n",
    ),
    (
        "message without MIME-Version",
        "\n--b\nContent-Type: message/rfc822\n\nContent-Type: image/gif\nContent-ID: <x>\n\none\n--b\nContent-Type: message/rfc822\n\nContent-ID: <x>\n\nthree\n--b--\n",
    ),
    (
        "base64 message",
        "\n--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA==\n--b--\n",
    ),
    ("base64 cut", "\n--b\nContent-Type: image/gif\nContent-Transfer-Encoding: base64\n\nR0lGODl\n--b--\n"),
    (
        "digest",
        "\n--b\nContent-Type: multipart/digest; boundary=c\n\n--c\n\nSubject: one\n\none\n--c\nContent-Type: text/plain\n\ntwo\n--c\nX: y\n\nSubject: three\n\nthree\n--c--\n--b--\n",
    ),
    (
        "report",
        "\n--b\n\nsorry\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nAction: failed\n--b\nContent-Type: text/rfc822-headers\n\nSubject: x\n--b--\n",
    ),
    (
        "charset",
        "\n--b\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n\u{f6}\n--b--\n",
    ),
    ("bare CR", "\n--b\n\na\rb\r\r\nc\n--b--\n"),
    ("mixed line ends", "\n--b\r\n\r\none\r\n--b\n\ntwo\n\r\n--b--\r\n"),
    ("CR after the boundary", "\n--b\r\r\n\none\n--b--\r"),
    ("two empty lines before", "\n--b\n\none\n\n\n--b\n\n\n\ntwo\n--b--\n"),
    (
        "fields of parts",
        "\n--b\nContent-Type: image/gif; name=x\nContent-ID: <1>\nContent-Description: d\nContent-MD5: m\nContent-Disposition: inline; a=b\nContent-Language: de, en\nContent-Location: l\n\nx\n--b--\n",
    ),
    ("language only", "\n--b\nContent-Language: de\n\nx\n--b--\n"),
    (
        "folded boundary field",
        "\n--b\nContent-Type: multipart/mixed;\n boundary=\"c d\"\n\n--c d\n\nx\n--c d--\n--b--\n",
    ),
    (
        "related",
        "\n--b\nContent-Type: multipart/related; type=\"text/html\"; boundary=c; start=\"<1>\"\n\n--c\nContent-Type: text/html\nContent-ID: <1>\n\nx\n--c--\n--b--\n",
    ),
    (
        "five deep",
        "\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: multipart/mixed; boundary=d\n\n--d\nContent-Type: multipart/mixed; boundary=e\n\n--e\nContent-Type: multipart/mixed; boundary=f\n\n--f\n\nx\n--f--\n--e--\n--d--\n--c--\n--b--\n",
    ),
];

/// Whole messages.
const WHOLE: &[(&str, &str)] = &[
    ("no octets", ""),
    ("one octet", "x"),
    ("one LF", "\n"),
    ("two LF", "\n\n"),
    ("CRLF", "\r\n"),
    ("CR", "\r"),
    ("no header", "\nHello\n"),
    ("no body", "Subject: x\n"),
    ("header cut", "Subject: x"),
    ("no colon", "Hello\nyou\n"),
    ("no colon, then body", "Hello\n\nyou\n"),
    ("CR in the header", "Subject: a\rb\nFrom: a@b\r\r\nTo: c@d\n\nx\n"),
    ("CR line", "Subject: a\n\r\r\nx\n"),
    ("CR only", "Subject: a\rFrom: a@b\r\rbody\r"),
    ("CRLF header, LF body", "Subject: a\r\nFrom: a@b\r\n\r\nx\ny\n"),
    ("LF header, CRLF body", "Subject: a\nFrom: a@b\n\nx\r\ny\r\n"),
    ("mixed", "Subject: a\r\nFrom: a@b\n\r\nx\ny\r\nz"),
    ("type without version", "Content-Type: image/gif\nContent-ID: <x>\n\nx\n"),
    (
        "id without version",
        "Content-ID: <x>\nContent-Transfer-Encoding: base64\nContent-Disposition: inline\n\nx\n",
    ),
    ("version after", "Content-ID: <x>\nMIME-Version: 1.0\n\nx\n"),
    ("odd version", "Content-ID: <x>\nMIME-Version: (c) 7\n\nx\n"),
    ("spaces line", "Subject: x\n \nFrom: a@b\n\nbody\n"),
    ("multipart without version", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n"),
    ("dots", "Subject: x\n\n.\n..\n.x\n"),
    ("from line in the body", "Subject: x\n\nFrom me\n>From you\n"),
    ("message of nothing", "MIME-Version: 1.0\nContent-Type: message/rfc822\n\n"),
    ("message of nothing at all", "MIME-Version: 1.0\nContent-Type: message/rfc822\n"),
];

/// A message of one header field of this many octets in all, folded or not.
fn long_field(name: &str, folded: bool, octets: usize) -> String {
    let word = if folded { "word\n " } else { "word " };
    format!("{name}: {}end\nX-After: y\n\nbody\n", word.repeat(octets / word.len()))
}

/// Messages made of repetition.
fn long_cases() -> Vec<(String, String)> {
    let mut cases = Vec::new();
    for folded in [false, true] {
        for name in ["Subject", "X-Long"] {
            cases.push((format!("long {name} {folded}"), long_field(name, folded, 9_000)));
        }
    }
    let addresses: String =
        (0..300).map(|number| format!("Name {number} <user{number}@x.test>,\n ")).collect();
    cases.push(("300 addresses".to_owned(), format!("To: {addresses}last@x.test\n\nx\n")));
    let parts: String = (0..300).map(|number| format!("--b\n\npart {number}\n")).collect();
    cases.push((
        "300 parts".to_owned(),
        format!("{MIME}Content-Type: multipart/mixed; boundary=b\n\n{parts}--b--\n"),
    ));
    let params: String = (0..50).map(|number| format!(";\n p{number}=v{number}")).collect();
    cases.push(("50 parameters".to_owned(), format!("{MIME}Content-Type: a/b{params}\n\nx\n")));
    let chain = "MIME-Version: 1.0\nContent-Type: message/rfc822\n\n".repeat(20);
    cases.push(("20 messages deep".to_owned(), format!("{chain}Subject: inner\n\nx\n")));
    let mut nested = String::new();
    for depth in 0..20 {
        nested += &format!("Content-Type: multipart/mixed; boundary=b{depth}x\n\n--b{depth}x\n");
    }
    cases.push(("20 multiparts deep".to_owned(), format!("{MIME}{nested}\nx\n")));
    for octets in [69, 70, 71, 77, 78, 79, 80, 81, 100, 199] {
        let boundary = "b".repeat(octets);
        cases.push((
            format!("boundary of {octets}"),
            format!("{MIME}Content-Type: multipart/mixed; boundary={boundary}\n\n--{boundary}\n\none\n--{boundary}--\n"),
        ));
    }
    cases.push(("long line".to_owned(), format!("Subject: x\n\n{}\nend\n", "x".repeat(100_000))));
    cases
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<(String, String)> = Vec::new();
    for (name, header) in ENVELOPES {
        cases.push((format!("envelope: {name}"), format!("{header}\nHello\n")));
    }
    for header in TYPES {
        for (name, body) in BODIES {
            let field = header.trim_end().escape_debug();
            cases.push((format!("type: {field} with {name}"), format!("{MIME}{header}{body}")));
            if *name == "text" {
                let part = format!(
                    "{MIME}Content-Type: multipart/mixed; boundary=x\n\n--x\n{header}{body}\n--x--\n"
                );
                cases.push((format!("part: {field}"), part));
            }
        }
    }
    for (name, body) in MULTIPARTS {
        cases.push((
            format!("multipart: {name}"),
            format!("{MIME}Content-Type: multipart/mixed; boundary=b\n{body}"),
        ));
    }
    cases.extend(WHOLE.iter().map(|(name, message)| (format!("whole: {name}"), (*message).to_owned())));
    cases.extend(long_cases());
    let latin1 =
        |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect::<Vec<u8>>();
    let mut all = Vec::new();
    for (name, message) in cases {
        if !message.contains('\r') {
            all.push(Case {
                name: format!("{name} (CRLF)"),
                message: message.replace('\n', "\r\n").into_bytes(),
            });
        }
        if !message.is_ascii() {
            all.push(Case { name: format!("{name} (latin1)"), message: latin1(&message) });
        }
        all.push(Case { name, message: message.into_bytes() });
    }
    all
}

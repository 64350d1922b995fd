"""Python's own clients against the server: a longer session, with everything said twice checked twice."""
import email.message
import imaplib
import smtplib
import ssl
import sys

submission, submissions, imap, imaps = map(int, sys.argv[1:5])
ann, bob, password, certificate = sys.argv[5:9]
tls = ssl.create_default_context(cafile=certificate)


def mail(subject, size=0):
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@example.test", bob, subject
    message.set_content("Grüße aus Python.\n.\n..\n" + "x" * 70 + "\n" * (size // 70))
    message.add_attachment(b"\x00\x01\xff" * 1000, maintype="application", subtype="x-octets", filename="octets")
    return message


def refused(call, *arguments):
    try:
        call(*arguments)
    except (smtplib.SMTPException, imaplib.IMAP4.error) as error:
        return error
    raise AssertionError(f"{call} {arguments} was taken")


def ok(answer):
    kind, data = answer
    assert kind == "OK", answer
    return data


# Sending.
with smtplib.SMTP("localhost", submission) as smtp:
    refused(smtp.login, ann, password)
    smtp.starttls(context=tls)
    assert smtp.has_extn("pipelining") or smtp.ehlo()[0] == 250
    assert smtp.has_extn("8bitmime") and smtp.has_extn("smtputf8") and smtp.has_extn("chunking")
    assert refused(smtp.login, ann, "wrong").smtp_code == 535
    smtp.login(ann, password)
    for number in range(3):
        assert smtp.send_message(mail(f"Thé {number}")) == {}
    partly = smtp.send_message(mail("both"), to_addrs=[bob, "nobody@example.test"])
    assert partly["nobody@example.test"][0] == 550, partly
    all_refused = refused(smtp.sendmail, "ann@example.test", ["x@elsewhere.example"], "x")
    assert all_refused.recipients["x@elsewhere.example"][0] == 550
    assert refused(smtp.sendmail, "bob@example.test", [bob], "x").smtp_code == 553
    assert smtp.vrfy(bob)[0] == 252 and smtp.help() and smtp.rset()[0] == 250 and smtp.noop()[0] == 250
with smtplib.SMTP_SSL("localhost", submissions, context=tls) as smtp:
    smtp.user, smtp.password = ann, password
    smtp.ehlo()
    assert smtp.auth("LOGIN", smtp.auth_login)[0] == 235
    smtp.send_message(mail("big", 300_000))

# Reading, after STARTTLS.
box = imaplib.IMAP4("localhost", imap)
refused(box.login, bob, password)
box.starttls(ssl_context=tls)
refused(box.login, bob, "wrong")
ok(box.login(bob, password))
assert ok(box.select()) == [b"5"]
assert ok(box.search(None, "SUBJECT", '"big"')) == [b"5"]
assert ok(box.search("UTF-8", "UNSEEN", "SUBJECT", '"Thé 1"'.encode())) == [b"2"]
assert ok(box.uid("SEARCH", "LARGER", "1000")) == [b"1 2 3 4 5"]
assert ok(box.search(None, "BODY", '"aus Python"', "NOT", "SEEN")) == [b"1 2 3 4 5"]
data = ok(box.fetch("5", "(UID RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])"))
message = email.message_from_bytes(data[0][1])
assert f"RFC822.SIZE {len(data[0][1])}".encode() in data[0][0] + b"".join(d for d in data if isinstance(d, bytes))
assert message.get_payload(1).get_payload(decode=True) == b"\x00\x01\xff" * 1000
part = ok(box.fetch("1", "(BODY.PEEK[2])"))[0][1]
assert part.decode().replace("\r\n", "") == message.get_payload(1).get_payload().replace("\n", "").replace("\r", "")
header = ok(box.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT TO)])"))[0][1]
assert b"=?utf-8?" in header.lower() and b"bob@example.test" in header and b"From" not in header
assert b"\\Seen" not in ok(box.fetch("1", "(FLAGS)"))[0]
ok(box.fetch("1", "(RFC822.TEXT)"))
assert b"\\Seen" in ok(box.fetch("1", "(FLAGS)"))[0]
assert b"\\Flagged" in ok(box.store("2:3", "+FLAGS", r"(\Flagged $Label1)"))[0]
assert ok(box.search(None, "KEYWORD", "$Label1", "FLAGGED")) == [b"2 3"]
assert ok(box.store("2", "-FLAGS.SILENT", r"(\Flagged)")) == [None]

# Folders with names in other letters (modified UTF-7).
for name in ["Entw&APw-rfe", "&ZeVnLIqe-", "A&-B", '"with space"', "a.b.c"]:
    ok(box.create(name))
    ok(box.subscribe(name))
    ok(box.append(name, r"(\Seen)", '"01-Feb-2024 03:04:05 +0100"', mail("appended").as_bytes()))
    assert b"MESSAGES 1" in ok(box.status(name, "(MESSAGES UNSEEN)"))[0]
    ok(box.copy("1:2", name))
    ok(box.select(name))
    assert ok(box.search(None, "ON", "1-Feb-2024")) == [b"1"]
    assert b"1-Feb-2024 02:04:05 +0000" in ok(box.fetch("1", "(INTERNALDATE)"))[0]
    ok(box.store("1", "+FLAGS", r"(\Deleted)"))
    assert ok(box.expunge()) == [b"1"]
    ok(box.close())
    ok(box.select())
listed = b"\n".join(ok(box.list()))
assert b"Entw&APw-rfe" in listed and b"A&-B" in listed and b'"with space"' in listed, listed
assert b"a.b.c" in b"\n".join(ok(box.lsub()))
ok(box.rename("a.b.c", "a.d"))
ok(box.delete("A&-B"))
assert box.create("b&d")[0] == "NO"
assert box.select("Nowhere")[0] == "NO"
ok(box.select())

# What imaplib has no words for.
shown = ok(box.capability())[0].split()
assert b"MOVE" in shown and b"UIDPLUS" in shown and b"IDLE" in shown, shown
imaplib.Commands.setdefault("MOVE", ("SELECTED",))
ok(box._simple_command("MOVE", "5", "Archive"))
assert ok(box.search(None, "ALL")) == [b"1 2 3 4"]
imaplib.Commands.update({"GETMETADATA": ("AUTH", "SELECTED"), "SETMETADATA": ("AUTH", "SELECTED")})
ok(box._simple_command("SETMETADATA", "Archive", '(/private/comment "old" /private/specialuse NIL)'))
ok(box._simple_command("GETMETADATA", "(DEPTH 1)", "Archive", "(/private/comment /private)"))
assert box.response("METADATA")[1] == [b'Archive (/private/comment "old")'], box.response("METADATA")
ok(box._simple_command("CREATE", "Entries", r"(USE (\Archive))"))
assert b"\\Archive" in [line for line in ok(box.list()) if line.endswith(b"Entries")][0]
ok(box.enable("UTF8=ACCEPT")) if "UTF8=ACCEPT" in box.capabilities else None
assert b"Trash" in b"\n".join(ok(box.list('""', "(%)"[1:2])))

# IDLE by hand while another client appends; the connection is a plain file to Python.
other = imaplib.IMAP4_SSL("localhost", imaps, ssl_context=tls)
ok(other.authenticate("PLAIN", lambda _: f"\0{bob}\0{password}".encode()))
box.send(b"idle1 IDLE\r\n")
assert box.readline().startswith(b"+")
ok(other.append("INBOX", None, None, mail("while idle").as_bytes()))
while b"5 EXISTS" not in box.readline():
    pass
ok(other.select())
ok(other.store("1", "+FLAGS", r"(\Deleted)"))
ok(other.expunge())
while b"1 EXPUNGE" not in box.readline():
    pass
box.send(b"DONE\r\n")
while not box.readline().startswith(b"idle1 OK"):
    pass
assert ok(box.uid("SEARCH", "ALL")) == [b"2 3 4 6"]
for each in (box, other):
    kind, _ = each.logout()
    assert kind == "BYE"
print("all done")

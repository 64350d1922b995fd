"""imapclient against the server: folders, 1,000 messages, flags, moves, search, and new mail by IDLE."""
import ssl
import sys

from imapclient import IMAPClient

port, user, password, certificate = int(sys.argv[1]), *sys.argv[2:5]
tls = ssl.create_default_context(cafile=certificate)


def login():
    box = IMAPClient("localhost", port=port, ssl_context=tls)
    box.login(user, password)
    return box


box, other = login(), login()
assert box.has_capability("IDLE") and box.has_capability("MOVE") and box.has_capability("UIDPLUS")
folder = "Grün & 日本"
box.create_folder(folder)
box.subscribe_folder(folder)
assert folder in [name for _, _, name in box.list_folders()], box.list_folders()
assert folder in [name for _, _, name in box.list_sub_folders()], box.list_sub_folders()
assert box.find_special_folder(b"\\Trash") == "Trash"
assert box.folder_status("INBOX", ["MESSAGES", "UNSEEN"]) == {b"MESSAGES": 1000, b"UNSEEN": 1000}

assert box.select_folder("INBOX")[b"EXISTS"] == 1000
uids = box.search()
assert len(uids) == 1000
assert box.search(["SUBJECT", "number 777"]) == [uids[776]]
assert box.search(["BODY", "Grüße 500"], "UTF-8") == [uids[499]]
seen = box.fetch(uids, ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "RFC822.SIZE", "INTERNALDATE"])
assert len(seen) == 1000 and seen[uids[41]][b"ENVELOPE"].subject == b"number 42"
parts = seen[uids[0]][b"BODYSTRUCTURE"]
assert parts.is_multipart and len(parts[0]) == 2, parts
assert box.fetch(uids[:1], ["BODY.PEEK[2]"])[uids[0]][b"BODY[2]"] == b"AAH/"

assert b"\\Flagged" in box.add_flags(uids[0], [b"\\Flagged", b"$Label1"])[uids[0]]
assert box.search(["KEYWORD", "$Label1"]) == [uids[0]]
box.remove_flags(uids[0], [b"$Label1"])
box.copy(uids[:3], folder)
box.move(uids[3:500], folder)
box.delete_messages(uids[500:510])
box.uid_expunge(uids[500:505])
assert len(box.search()) == 1000 - 497 - 5
box.expunge()
assert len(box.search()) == 1000 - 497 - 10
assert box.folder_status(folder, ["MESSAGES"])[b"MESSAGES"] == 500
assert box.thread("REFERENCES") if box.has_capability("THREAD=REFERENCES") else True

before = len(box.search())
box.idle()
other.append("INBOX", b"Subject: while idle\r\n\r\nx\r\n", flags=[b"\\Flagged"])
heard = []
while (before + 1, b"EXISTS") not in heard:
    got = box.idle_check(timeout=60)
    assert got, heard
    heard += got
box.idle_done()
assert len(box.search("FLAGGED")) == 2

box.select_folder("INBOX", readonly=True)
assert not box.search(["SUBJECT", "no such"])
box.close_folder()
box.rename_folder(folder, "Früher.Neu")
assert box.folder_exists("Früher.Neu") and not box.folder_exists(folder)
box.unsubscribe_folder(folder)
box.delete_folder("Früher.Neu")
assert not box.folder_exists("Früher.Neu")
for each in (box, other):
    each.logout()
print("all done")

# Checks every signature of each message: `dkim_verify.py RECORDS FILE…`, records as `name text` lines. For each file a line
# says how many signatures are good, or `bad`.
import sys

import dkim

records = dict(line.rstrip("\n").split(" ", 1) for line in open(sys.argv[1]))


def lookup(name, timeout=5):
    return records.get(name.decode().rstrip("."), "").encode()


def good(message, index):
    try:
        return dkim.DKIM(message).verify(idx=index, dnsfunc=lookup)
    except dkim.ValidationError:
        return False


for path in sys.argv[2:]:
    message = open(path, "rb").read()
    headers = dkim.DKIM(message).headers
    count = sum(1 for name, _ in headers if name.lower() == b"dkim-signature")
    print(count if all(good(message, index) for index in range(count)) else "bad")

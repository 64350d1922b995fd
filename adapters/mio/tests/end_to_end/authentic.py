# What a receiver finds out about each mail as it lies in Postfix's Maildir, with the records of the DNS that it uses:
# `authentic.py FILE…`. For each file a line: SPF's result for the client, its HELO and the reverse-path, and how many
# DKIM signatures are good, of how many.
import re
import sys

import dkim
import spf


def is_good(message, index):
    try:
        return dkim.DKIM(message).verify(idx=index)
    except dkim.ValidationError:
        return False


for path in sys.argv[1:]:
    message = open(path, "rb").read()
    sender = re.search(rb"^Return-Path: <(.*)>$", message, re.M).group(1).decode()
    helo, client = re.search(rb"^Received: from (\S+) \(\S+ \[([0-9.]+)\]\)", message, re.M).groups()
    result = spf.check2(i=client.decode(), s=sender, h=helo.decode())[0]
    headers = dkim.DKIM(message).headers
    count = sum(1 for name, _ in headers if name.lower() == b"dkim-signature")
    print(result, sum(is_good(message, index) for index in range(count)), count)

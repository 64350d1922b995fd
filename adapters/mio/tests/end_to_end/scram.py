"""Logs in by SCRAM-SHA-256 and, bound to the server's certificate, by SCRAM-SHA-256-PLUS, with scramp over imaplib
and smtplib. Arguments: IMAPS port, submissions port, user, password, certificate."""

import hashlib
import imaplib
import smtplib
import ssl
import sys

from scramp import ScramClient

imaps, submissions = int(sys.argv[1]), int(sys.argv[2])
user, password, certificate = sys.argv[3:]
context = ssl.create_default_context(cafile=certificate)


class Exchange:
    """What a client says, given what the server has said."""

    def __init__(self, mechanism, socket, password):
        binding = None
        if mechanism.endswith("-PLUS"):
            # The certificate is signed with SHA-256 (RFC 5929, section 4.1).
            binding = ("tls-server-end-point", hashlib.sha256(socket.getpeercert(True)).digest())
        self.client = ScramClient([mechanism], user, password, channel_binding=binding)
        self.step = 0

    def answer(self, challenge):
        self.step += 1
        if self.step == 1:
            return self.client.get_client_first()
        if self.step == 2:
            self.client.set_server_first(challenge)
            return self.client.get_client_final()
        self.client.set_server_final(challenge)
        return ""


def imap(mechanism, password):
    connection = imaplib.IMAP4_SSL("localhost", imaps, ssl_context=context)
    assert f"AUTH={mechanism}" in connection.capabilities, connection.capabilities
    exchange = Exchange(mechanism, connection.sock, password)
    connection.authenticate(mechanism, lambda challenge: exchange.answer(challenge.decode()).encode())
    assert exchange.step == 3
    assert connection.select()[0] == "OK"
    connection.logout()


def smtp(mechanism, password):
    connection = smtplib.SMTP_SSL("localhost", submissions, context=context)
    connection.ehlo()
    assert mechanism in connection.esmtp_features["auth"].split()
    exchange = Exchange(mechanism, connection.sock, password)
    connection.auth(mechanism, lambda challenge=None: exchange.answer((challenge or b"").decode()))
    assert exchange.step == 3
    connection.quit()


for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]:
    imap(mechanism, password)
    smtp(mechanism, password)
    for login, refusal in [(imap, imaplib.IMAP4.error), (smtp, smtplib.SMTPAuthenticationError)]:
        try:
            login(mechanism, "wrong")
        except refusal:
            continue
        raise SystemExit(f"{mechanism}: a wrong password is let in")

import json
import signal
import smtplib
import ssl
import subprocess
import sys
from email.message import EmailMessage
from urllib.request import urlopen

import pytest
import trustme

from mailer.embedded.catcher import Catcher
from mailer.embedded.process import Child, free_port, listens, wait_until


def message() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.net", "Hi"
    message.set_content(".a line that begins with a dot\n")
    return message


def test_what_smtplib_sends_is_kept(catcher: Catcher) -> None:
    with smtplib.SMTP("127.0.0.1", catcher.port) as client:
        client.login("anybody", "anything")
        client.send_message(message(), to_addrs=["b@example.net", "c@example.net"])
        client.send_message(message())
    assert catcher.wait_for(2)
    first, second = catcher.messages
    assert first.recipients == ("b@example.net", "c@example.net")
    assert b"\r\n.a line that begins with a dot\r\n" in second.content
    assert catcher.received("c@example.net") == [first]
    assert catcher.count == 2


def test_the_script_may_change_between_messages(catcher: Catcher) -> None:
    catcher.script = lambda stage, _: "450 4.2.1 Later" if stage == "rcpt" else None
    with smtplib.SMTP("127.0.0.1", catcher.port) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.send_message(message())
        catcher.script = lambda stage, _: None
        client.send_message(message())
    assert catcher.count == 1


def test_starttls_protects_what_follows() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    with Catcher(tls=server) as catcher, smtplib.SMTP("127.0.0.1", catcher.port) as client:
        client.starttls(context=client_side)
        client.ehlo()
        assert not client.has_extn("starttls")
        client.send_message(message())
        assert catcher.count == 1


def test_a_client_that_does_not_trust_us_harms_nobody() -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server)
    with Catcher(tls=server) as catcher:
        with smtplib.SMTP("127.0.0.1", catcher.port) as client, pytest.raises(ssl.SSLError):
            client.starttls(context=ssl.create_default_context())
        with smtplib.SMTP("127.0.0.1", catcher.port) as client:
            client.send_message(message())
        assert catcher.count == 1


def test_a_port_that_is_taken_is_an_error_and_stopping_cuts_connections(catcher: Catcher) -> None:
    with pytest.raises(OSError, match="in use"):
        Catcher(port=catcher.port).start()
    with Catcher() as other:
        client = smtplib.SMTP("127.0.0.1", other.port)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.noop()
    client.close()


def test_as_a_process_it_shows_what_it_caught_and_ends_when_asked() -> None:
    smtp, http = free_port(), free_port()
    command = [sys.executable, "-m", "mailer.embedded.catcher"]
    with Child("catcher", [*command, f"--smtp-port={smtp}", f"--http-port={http}"]) as child:
        wait_until(lambda: listens(smtp) and listens(http), child, "The catcher")
        with smtplib.SMTP("127.0.0.1", smtp) as client:
            client.send_message(message())
        with urlopen(f"http://127.0.0.1:{http}/api/recipients", timeout=10) as answer:
            assert json.load(answer) == {"b@example.net": 1}
    assert child.returncode in (0, 128 + signal.SIGTERM)


def test_as_a_process_it_says_in_one_line_that_it_cannot_listen(catcher: Catcher) -> None:
    command = [sys.executable, "-m", "mailer.embedded.catcher", f"--smtp-port={catcher.port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: cannot listen: ")
    assert done.stderr.count("\n") == 1

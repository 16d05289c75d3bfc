"""What readers and filters that nobody here wrote make of our messages."""

import os
import shutil
import subprocess

import mailparser
import pytest

from mailer.message import Attachment
from mailer.tokens import Tokens
from tests.unit.render.make import DELIVERY, make, send

NEWSLETTER = make(
    sender="Example News <news@example.com>", reply_to="editor@example.com",
    to="{{ name }} <{{ email }}>", subject="{{ name }}, neues im November: Grüße aus Köln",
    list_unsubscribe=["https://u.example.com/{{ token }}", "mailto:u+{{ token }}@example.com"],
    list_id="news.example.com", envelope_sender="bounce+{{ token }}@example.com",
    text="Dear {{ name }},\n\nour shop in Cologne has a new floor, and you are invited to see it "
    "on Friday. There will be coffee.\n\nGrüße\nExample Ltd, 1 Main Street, 50667 Köln\n",
    html="""<!DOCTYPE html><html lang="de"><head><title>News</title></head><body>
<h1>Dear {{ name }},</h1>
<p>our shop in Cologne has a new floor, and you are invited to see it on Friday.
There will be coffee.</p><p>Grüße</p><p>Example Ltd, 1 Main Street, 50667 Köln</p>
<p><a href="{{ unsubscribe_url }}">No more letters, please</a></p></body></html>""",
    attachments=[Attachment.from_bytes(b"%PDF-1.4", "Einladung Köln.pdf")],
)  # fmt: skip
MAIL = send(
    NEWSLETTER, {"name": "张伟"}, tokens=Tokens("a secret of sixteen"),
    message_id=f"<{DELIVERY}@example.com>",
)  # fmt: skip


def test_another_parser_reads_the_same() -> None:
    found = mailparser.parse_from_bytes(MAIL.content)
    assert found.subject == "张伟, neues im November: Grüße aus Köln"
    assert found.to == [("张伟", "ann@example.net")]
    assert found.from_ == [("Example News", "news@example.com")]
    assert found.text_plain[0].startswith("Dear 张伟,")
    assert "Dear 张伟,</h1>" in found.text_html[0]
    assert [one["filename"] for one in found.attachments] == ["Einladung Köln.pdf"]
    assert not found.defects


# Rules of SpamAssassin about how a message is made; the rest is about what it says and its path.
# A message that was never on its way has no Received headers, which these two are about.
NEVER_SENT = {"NO_RELAYS", "NO_RECEIVED"}
SPAMASSASSIN = shutil.which("spamassassin")


@pytest.mark.skipif(
    SPAMASSASSIN is None and not os.environ.get("CI"), reason="spamassassin not installed"
)
def test_spamassassin_finds_nothing_wrong_with_headers_or_mime() -> None:
    assert SPAMASSASSIN is not None, "spamassassin is not installed"
    done = subprocess.run(
        # -L: no network tests. The report of rules ends with lines "points rule description".
        [SPAMASSASSIN, "-L", "-t", "-x", "--cf", "use_bayes 0"],
        input=MAIL.content, capture_output=True, timeout=100, check=True,
    )  # fmt: skip
    status = done.stdout.decode(errors="replace").partition("X-Spam-Status:")[2]
    status = status.partition("X-Spam")[0] or done.stdout.decode(errors="replace")
    score = float(status.partition("score=")[2].split()[0])
    rules = "".join(status.partition("tests=")[2].split("autolearn")[0].split()).split(",")
    assert score < 2.0, status
    bad = (
        "MIME_",
        "HEADER",
        "SUBJ",
        "FROM_",
        "TO_",
        "DATE_",
        "MSGID",
        "INVALID",
        "MISSING",
        "BASE64",
    )
    assert [rule for rule in set(rules) - NEVER_SENT if rule.startswith(bad)] == [], status

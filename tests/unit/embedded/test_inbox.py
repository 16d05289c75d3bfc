import asyncio
import json
from email.message import EmailMessage
from typing import Any, NamedTuple

import pytest

from mailer.embedded.inbox import inbox
from mailer.embedded.store import Store

HOSTILE = "<script>alert(1)</script>"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(store: Store, path: str, host: str = "127.0.0.1:8025") -> Answer:
    """Ask the site, without a socket."""
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", host.encode())],
    }
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    asyncio.run(inbox(store, ["127.0.0.1"])(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers, b"".join(e.get("body", b"") for e in sent[1:]))


def sample() -> bytes:
    message = EmailMessage()
    message["From"] = "Bank <bank@example.com>"
    message["To"] = f'"{HOSTILE}" <ann@example.net>'
    message["Cc"] = "ben@example.net"
    message["Subject"] = f"Grüße {HOSTILE}"
    message.set_content(f"Hello {HOSTILE}")
    message.add_alternative(
        '<b>Hello</b> <img src="cid:logo"> <img src="cid:none">', subtype="html"
    )
    html = message.get_payload()[1]  # type: ignore[index]
    html.add_related(b"\x89PNG", "image", "png", cid="<logo>", filename="logo.png")  # type: ignore[union-attr]
    message.add_attachment(b"terms", "text", "plain", filename="Bedingungen – neu.txt")
    return bytes(message)


@pytest.fixture
def store() -> Store:
    store = Store()
    store.add("bank@example.com", ["ann@example.net", "ben@example.net"], sample())
    return store


def test_an_empty_inbox_says_so() -> None:
    assert "Nothing arrived yet" in get(Store(), "/").text


def test_the_list_shows_what_arrived_escaped(store: Store) -> None:
    page = get(store, "/")
    assert page.status == 200
    assert "Grüße &lt;script&gt;" in page.text
    assert HOSTILE not in page.text
    assert "and 1 more" in page.text
    assert "script-src" not in page.headers["content-security-policy"]


def test_search_finds_an_address_or_says_that_there_is_none(store: Store) -> None:
    assert "/messages/1" in get(store, "/?address=ben").text
    assert "No message from or to “&lt;b&gt;”" in get(store, "/?address=%3Cb%3E").text


def test_many_messages_are_paged(store: Store) -> None:
    for _ in range(60):
        store.add("a@example.com", ["b@example.net"], b"Subject: x\r\n\r\n")
    first, second = get(store, "/"), get(store, "/?page=2")
    assert first.text.count("<tr>") == 51
    assert 'rel="next"' in first.text
    assert 'rel="prev"' in second.text
    assert second.text.count("<tr>") == 12


def test_a_message_shows_text_headers_and_files_escaped(store: Store) -> None:
    page = get(store, "/messages/1").text
    assert "<pre>Hello &lt;script&gt;" in page
    assert HOSTILE not in page
    assert "Bedingungen – neu.txt" in page
    assert '<iframe sandbox title="The message as HTML" src="/messages/1/html">' in page


def test_the_html_body_runs_no_script_and_loads_nothing_from_elsewhere(store: Store) -> None:
    body = get(store, "/messages/1/html")
    policy = body.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; img-src 'self' data:")
    assert 'src="/messages/1/parts/2"' in body.text
    assert 'src="cid:none"' in body.text


def test_files_are_downloaded_never_shown(store: Store) -> None:
    file = get(store, "/messages/1/parts/3")
    assert file.body == b"terms"
    assert file.headers["content-disposition"] == (
        "attachment; filename*=utf-8''Bedingungen%20%E2%80%93%20neu.txt"
    )
    assert file.headers["x-content-type-options"] == "nosniff"


def test_the_source_is_what_came_over_the_wire(store: Store) -> None:
    assert get(store, "/messages/1/source").body == store.newest_first()[0].content


def test_what_is_not_there_is_404(store: Store) -> None:
    for path in ("/messages/2", "/messages/1/parts/9", "/nothing"):
        assert get(store, path).status == 404


def test_the_stylesheet_is_served(store: Store) -> None:
    assert get(store, "/style.css").headers["content-type"].startswith("text/css")


def test_json_lists_messages(store: Store) -> None:
    answer = get(store, "/api/messages?address=ann&per_page=5").json
    (message,) = answer["messages"]
    assert message["to"] == ["ann@example.net", "ben@example.net"]
    assert (message["id"], message["from"]) == (1, "bank@example.com")
    assert not answer["more"]


def test_json_takes_a_message_apart(store: Store) -> None:
    message = get(store, "/api/messages/1").json
    assert message["text"].startswith("Hello <script>")
    assert message["html"].startswith("<b>Hello</b>")
    assert [file["name"] for file in message["attachments"]] == [
        "logo.png",
        "Bedingungen – neu.txt",
    ]
    assert ["Cc", "ben@example.net"] in message["headers"]


def test_json_counts_all_and_by_recipient(store: Store) -> None:
    assert get(store, "/api/count").json == {"count": 1}
    assert get(store, "/api/count?address=ann@example.net").json == {"count": 1}
    assert get(store, "/api/count?address=nobody@example.net").json == {"count": 0}
    assert get(store, "/api/recipients").json == {"ann@example.net": 1, "ben@example.net": 1}


def test_a_page_under_a_foreign_name_cannot_read_the_mail(store: Store) -> None:
    assert get(store, "/api/messages", host="evil.example").status == 400


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n\r\n",
        b"no header at all",
        b"Subject: =?x?q?y?=\r\n\r\nx",
        b"Subject: \xff\xfe\r\nFrom: <<>>,;@\r\n\r\n\xff",
        b"Content-Type: text/plain; charset=nope\r\n\r\ncaf\xc3\xa9",
        b"Content-Type: text/html; charset=latin-1\r\n\r\ncaf\xe9",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nunended",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"Content-Transfer-Encoding: base64\r\n\r\n!!!",
        b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext",
    ],
)
def test_broken_mail_is_shown_as_far_as_it_goes(content: bytes) -> None:
    store = Store()
    store.add("", ["b@example.net"], content)
    for path in ("/", "/messages/1", "/messages/1/html", "/api/messages/1"):
        assert get(store, path).status == 200

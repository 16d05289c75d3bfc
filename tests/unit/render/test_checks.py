from typing import Any

import pytest

from mailer.render import Finding, check, compile_message
from tests.unit.render.make import make

GOOD = {
    "subject": "News",
    "text": "Hello {{ name }}\nExample Ltd, 1 Main Street, 12345 Berlin\n",
    "html": "<p>Hello {{ name }}<img src='https://x.example/a.png' alt='A'></p>",
    "list_unsubscribe": "https://u.example/{{ token }}",
}


def found(fields: dict[str, Any], **options: Any) -> list[tuple[str, str]]:
    options = {"dkim_domains": {"example.com"}, "sample": {"name": "Ann"}} | options
    findings = check(compile_message(make(**{**GOOD, **fields})), **options)
    assert all(isinstance(one, Finding) and one.text for one in findings)
    return [(one.level, one.field) for one in findings]


def test_a_good_newsletter_has_no_findings() -> None:
    assert found({}) == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"subject": " "}, "subject"),
        ({"text": None, "html": "<p>1 Main St, 12345 Berlin"}, "text"),
        ({"text": "Hello", "html": "<p>Hi</p>"}, "text"),
        ({"list_unsubscribe": ()}, "list_unsubscribe"),
        ({"sender": "a@other.example"}, "sender"),
        ({"html": "<img src='https://x.example/a.png'>"}, "html"),
        ({"html": "<a href='http://x.example'>x</a>"}, "html"),
        ({"html": "<p>" + "x" * 103_000}, "html"),
        ({"subject": "Hi *|FNAME|*"}, "subject"),
        ({"subject": "Hi {name}"}, "subject"),
        ({"html": "<p>%%NAME%%"}, "html"),
        ({"html": "<p>${name}"}, "html"),
    ],
)
def test_what_readers_or_receivers_would_mind_is_a_warning(
    fields: dict[str, Any], field: str
) -> None:
    assert found(fields) == [("warning", field)]


def test_style_sheets_are_no_template_marks() -> None:
    assert found({"html": "<style>p {color} @media {x}</style><p>x"}) == []


def test_a_single_message_needs_no_way_out() -> None:
    assert found({"list_unsubscribe": (), "text": "x"}, bulk=False) == []
    assert found({"list_unsubscribe": ()}, has_unsubscribe=True) == []


@pytest.mark.parametrize("domain", ["example.com", "mail.example.com", "com"])
def test_a_domain_above_or_below_is_aligned(domain: str) -> None:
    assert found({}, dkim_domains=[domain]) == []
    assert found({}, dkim_domains=None) == []


def test_what_would_stop_every_message_is_an_error() -> None:
    assert found({}, size_limit=100) == [("error", "attachments")]
    assert found({}, size_limit=100_000) == []
    assert found({}, sample={"name": ""}) == [("error", "recipients")]
    broken = {"text": "{{ name | number }} 12345 Berlin"}
    assert found(broken) == [("error", "text")]
    mail = compile_message(make()).preview({}, email="a@example.net")
    assert found({}, size_limit=100, sample_mail=mail) == [("error", "attachments")]

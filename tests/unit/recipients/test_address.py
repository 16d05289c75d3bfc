import string
import unicodedata

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from mailer.recipients import normalise
from mailer.recipients.address import _normalise_any


@pytest.mark.parametrize(
    "email",
    [
        "ann@example.com",
        "ann@example.test",
        "ann@mail.example.invalid",
        "ann@office.local",
        "o'neil+news=x@a-b.example.org",
        "a@b.co",
        "x" * 64 + "@example.com",
        "ann@" + "a" * 63 + ".example.com",
    ],
)
def test_a_plain_address_stays_as_it_is(email: str) -> None:
    assert normalise(email) == (email, email)


def test_the_key_ignores_case_and_the_envelope_keeps_it() -> None:
    assert normalise(" Ann.Lee@Example.COM\t") == ("Ann.Lee@Example.COM", "ann.lee@example.com")


def test_a_domain_outside_ascii_becomes_its_a_label() -> None:
    email, address = normalise("Jo@Bücher.example")
    assert email == "Jo@xn--bcher-kva.example"
    assert address == "jo@xn--bcher-kva.example"


def test_a_local_part_outside_ascii_is_kept_and_its_key_composed() -> None:
    decomposed = unicodedata.normalize("NFD", "Jörg@example.com")
    assert normalise(decomposed) == ("Jörg@example.com", "jörg@example.com")
    assert normalise("用户@例子.example")[0] == "用户@xn--fsqu00a.example"


@pytest.mark.parametrize(
    ("email", "reason"),
    [
        ("", "no email address"),
        ("ann", "must have an @-sign"),
        ("@example.com", "something before the @-sign"),
        ("ann@", "something after the @-sign"),
        ("ann@localhost", "special-use"),
        ("ann@intranet", "dot"),
        ("ann@192.0.2.1", "dot"),
        ("ann@[192.0.2.1]", "IP address"),
        ("ann lee@example.com", "SPACE"),
        ("ann@exam\0ple.com", "U+0000"),
        ("ann@example.com\r\nBcc: x@y.zz", "invalid characters"),
        ("a..b@example.com", "two periods"),
        ("ann@-example.com", "hyphen"),
        ("Ann <ann@example.com>", "display name"),
        ("ann@example.com,bob@example.com", "invalid characters"),
        ("x" * 65 + "@example.com", "too long"),
        ("ann@" + "a" * 64 + ".com", "1 character too many"),
        ("x" * 300 + "@example.com", "longer than 254"),
        ("ann@xn--zz9999999.example", "@-sign"),
        ("ann＠example.com", "full-width"),
        ("é" * 64 + "@" + ("ü" * 25 + ".") * 4 + "example", "too long"),
    ],
)
def test_an_invalid_address_gets_its_reason_in_one_line(email: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\r\n]+$") as caught:
        normalise(email)
    assert reason in str(caught.value)


@given(
    st.from_regex(r"[a-z.'+-]{1,6}@[a-z0-9.-]{1,12}\.[a-z0-9-]{1,3}", fullmatch=True)
    | st.text(string.ascii_letters + string.digits + '@.-_+ "(', max_size=70)
    | st.text(max_size=20).map(lambda text: f"{text}@example.com")
)
def test_the_fast_path_accepts_only_what_the_library_accepts(email: str) -> None:
    try:
        fast = normalise(email)
    except ValueError:
        return
    slow = _normalise_any(email.strip())
    assert fast[1] == slow[1]
    try:
        validate_email(fast[0], check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as error:  # pragma: no cover - the fact that is denied
        pytest.fail(str(error))


@given(st.text(max_size=15), st.text(max_size=15))
def test_a_normalised_address_is_its_own_normal_form(local: str, domain: str) -> None:
    try:
        email, address = normalise(f"{local}@{domain}.example")
    except ValueError:
        return
    assert normalise(email) == (email, address)
    assert not set(email) & set("\r\n\0 <>")

import pytest

from mailer import NotFoundError, Settings
from mailer.providers import Destinations, choose, server

SETTINGS = Settings.parse(
    {
        "providers": {
            "main": {"host": "a.example", "username": "u", "password": "secret"},
            "spare": {"host": "b.example", "ca_file": "/ca.pem"},
        },
        "destinations": {"x": {"domains": ["Bücher.example"]}},
    },
    {},
)


def test_the_first_provider_is_taken_when_none_is_named() -> None:
    assert choose(SETTINGS, None) == ["main"]
    assert choose(SETTINGS, ()) == ["main"]


def test_providers_keep_the_order_of_preference() -> None:
    assert choose(SETTINGS, "spare") == ["spare"]
    assert choose(SETTINGS, ["spare", "main"]) == ["spare", "main"]


def test_an_unknown_provider_is_named_with_the_known_ones() -> None:
    with pytest.raises(NotFoundError, match=r"'nobody'; configured: main, spare"):
        choose(SETTINGS, ["main", "nobody"])


def test_without_any_provider_nothing_can_be_sent() -> None:
    with pytest.raises(NotFoundError, match="none is configured"):
        choose(Settings(), None)


def test_the_password_reaches_the_engine_and_no_repr() -> None:
    made = server(SETTINGS.providers["main"])
    assert made.password == "secret"
    assert "secret" not in repr(made)
    assert server(SETTINGS.providers["spare"]).ca_file == "/ca.pem"


def test_a_destination_is_known_by_the_a_label_of_its_domain() -> None:
    destinations = Destinations(SETTINGS)
    assert destinations.of("xn--bcher-kva.example") == "x"
    assert destinations.of("other.example") is None

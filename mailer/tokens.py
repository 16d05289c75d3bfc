"""Short signed tokens that name a delivery in places others can see and alter.

A token is the base32 text of 16 bytes of delivery id and 10 bytes of HMAC-SHA-256 over purpose
and id: 42 characters of ``a-z2-7``. Base32, since relays may change the case of a local part, and
short, since a local part holds at most 64 octets (RFC 5321 4.5.3.1.1).
"""

import base64
import binascii
import hmac
from uuid import UUID

from mailer.errors import InputError

_MAC_BYTES = 10  # 80 bits: a guess a microsecond would need 38 thousand million years
_KEY_BYTES = 16


class Tokens:
    """Makes and reads tokens with one secret key.

    A purpose ("bounce", "unsubscribe", "header") keeps a token made for one use from being
    accepted for another.
    """

    __slots__ = ("_keys",)

    def __init__(self, key: str | bytes, *older: str | bytes) -> None:
        """``key`` signs; ``older`` keys are still accepted, so that a key can be changed."""
        self._keys = [_secret(one) for one in (key, *older)]

    def __repr__(self) -> str:
        return "Tokens(…)"

    def make(self, purpose: str, delivery_id: str | UUID) -> str:
        """Return the token of a delivery for one purpose; the same every time."""
        name = UUID(str(delivery_id)).bytes
        raw = name + _mac(self._keys[0], purpose, name)
        return base64.b32encode(raw).decode("ascii").rstrip("=").lower()

    def read(self, purpose: str, token: str) -> str:
        """Return the delivery id, or raise InputError when the token was not made here."""
        try:
            raw = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
        except (binascii.Error, ValueError):
            raw = b""
        name, mac = raw[:16], raw[16:]
        if len(raw) != 16 + _MAC_BYTES or not any(
            hmac.compare_digest(mac, _mac(key, purpose, name)) for key in self._keys
        ):
            raise InputError("the token is not valid")
        return str(UUID(bytes=name))


def _secret(key: str | bytes) -> bytes:
    raw = key.encode() if isinstance(key, str) else key
    if len(raw) < _KEY_BYTES:
        raise InputError(f"a token key needs at least {_KEY_BYTES} bytes")
    return raw


def _mac(key: bytes, purpose: str, name: bytes) -> bytes:
    return hmac.digest(key, purpose.encode() + b"\0" + name, "sha256")[:_MAC_BYTES]

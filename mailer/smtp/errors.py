"""The errors of the engine: one clear line each, free of secrets."""

from typing import Self

from .model import Kind, Phase, Reply, Verdict, parted, printable


class SmtpError(Exception):
    """No usable connection. ``phase`` says where it failed, ``reply`` what the server said."""

    def __init__(self, phase: Phase, problem: str, reply: Reply | None = None) -> None:
        super().__init__(printable(problem))
        self.phase = phase
        self.reply = reply

    @classmethod
    def from_reply(cls, phase: Phase, what: str, reply: Reply) -> Self:
        """``what`` was answered with a refusal."""
        enhanced, text = parted(reply)
        words = [str(reply.code), *([enhanced] if enhanced else []), text]
        return cls(phase, f"{what}: {' '.join(words)}", reply)

    def verdict(self) -> Verdict:
        """The verdict on a transaction that waited for this connection: always try later."""
        if self.reply is None:
            return Verdict(Kind.LATER, self.phase, text=str(self))
        enhanced, text = parted(self.reply)
        return Verdict(Kind.LATER, self.phase, self.reply.code, enhanced, text)


class ConnectError(SmtpError):
    """The name does not resolve, or nobody answers, or the server turns us away."""


class TlsError(SmtpError):
    """TLS is not offered, or the certificate does not stand up."""


class AuthError(SmtpError):
    """The credentials are refused, or no mechanism fits."""


class ProtocolError(SmtpError):
    """The server breaks the protocol: garbage, a line without end, an answer nobody asked for."""

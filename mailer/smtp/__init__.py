"""The SMTP engine: pooled, pipelined connections that say exactly what became of each message.

It imports nothing else of this project. Start with ``Pool(Server(...)).send([Transaction(...)])``.
"""

from .capabilities import Capabilities
from .errors import AuthError, ConnectError, ProtocolError, SmtpError, TlsError
from .model import Dsn, Kind, Lease, Observer, Phase, Reply, Transaction, Verdict
from .pool import Pool, Stats
from .server import Server, Timeouts

__all__ = [
    "AuthError",
    "Capabilities",
    "ConnectError",
    "Dsn",
    "Kind",
    "Lease",
    "Observer",
    "Phase",
    "Pool",
    "ProtocolError",
    "Reply",
    "Server",
    "SmtpError",
    "Stats",
    "Timeouts",
    "TlsError",
    "Transaction",
    "Verdict",
]

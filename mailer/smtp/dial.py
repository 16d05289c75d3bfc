"""From a host name to a logged-in connection: DNS, TCP, TLS and the handshake's I/O."""

import asyncio
import socket
import ssl
from dataclasses import replace

import aiohappyeyeballs

from . import tls
from .capabilities import Capabilities
from .connection import Connection
from .errors import AuthError, ConnectError, SmtpError, TlsError
from .handshake import GetToken, Handshake, Say, StartTls, handshake
from .model import Phase
from .server import Server

HAPPY_EYEBALLS_DELAY = 0.25  # seconds before the next address is tried beside the first, RFC 8305


async def dial(server: Server, context: ssl.SSLContext | None, connection: Connection) -> None:
    """Connect and log in; ``connection`` is ready to take work afterwards.

    Raises an SmtpError, with the link closed, for all that a server or a network can do.
    """
    try:
        await _connect(server, context, connection)
        local_name = server.helo_name or _helo_name(connection)
        offer = await _drive(handshake(server, local_name), server, context, connection)
    except BaseException:
        connection.abort("the handshake failed")
        raise
    if server.tls == "implicit":
        version, cipher = connection.tls()
        offer = replace(offer, tls_version=version, tls_cipher=cipher)
    connection.begin(offer)


async def _connect(server: Server, context: ssl.SSLContext | None, connection: Connection) -> None:
    sock = await _socket(server)
    secure = context if server.tls == "implicit" else None
    name = server.server_name or server.host
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(server.timeouts.tls):
            await loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=secure,
                server_hostname=name if secure else None,
            )
    except TimeoutError as error:
        sock.close()
        raise TlsError(Phase.TLS, f"no TLS with {server.host} in time") from error
    except (OSError, ssl.SSLError) as error:
        sock.close()
        raise TlsError(Phase.TLS, f"{server.host}: {tls.explain(error)}") from error


async def _socket(server: Server) -> socket.socket:
    """A connected socket, to whichever of the host's addresses answers first."""
    where = f"{server.host} port {server.port}"
    try:
        async with asyncio.timeout(server.timeouts.connect):
            sock = await aiohappyeyeballs.start_connection(
                await _resolve(server.host, server.port),
                local_addr_infos=await _resolve(server.source_address, 0)
                if server.source_address
                else None,
                happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY,
            )
    except TimeoutError as error:
        raise ConnectError(Phase.CONNECT, f"cannot connect to {where}: no answer") from error
    except OSError as error:
        raise ConnectError(
            Phase.CONNECT, f"cannot connect to {where}: {error.strerror or error}"
        ) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def _resolve(host: str, port: int):  # type: ignore[no-untyped-def]
    loop = asyncio.get_running_loop()
    return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _helo_name(connection: Connection) -> str:
    """The host's full name when it has one, else the address of this end (RFC 5321, 4.1.3)."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    address = connection.local_address()
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


async def _drive(
    steps: Handshake, server: Server, context: ssl.SSLContext | None, connection: Connection
) -> Capabilities:
    """Do the I/O that the handshake asks for."""
    try:
        step = next(steps)
        while True:
            match step:
                case Say(phase, line, shown):
                    seconds = server.timeouts.of(phase)
                    step = steps.send(await connection.say(phase, line, shown, seconds))
                case StartTls():
                    step = steps.send(await _start_tls(server, context, connection))
                case GetToken(refresh):
                    step = steps.send(await _token(server, refresh=refresh))
    except StopIteration as end:
        offer: Capabilities = end.value
        return offer


async def _start_tls(
    server: Server, context: ssl.SSLContext | None, connection: Connection
) -> tuple[str, str]:
    assert context is not None  # noqa: S101 - only tls="none" has no context
    try:
        async with asyncio.timeout(server.timeouts.tls):
            return await connection.start_tls(context, server.server_name or server.host)
    except TimeoutError as error:
        raise TlsError(Phase.TLS, f"no TLS with {server.host} in time") from error
    except (OSError, ssl.SSLError) as error:
        raise TlsError(Phase.TLS, f"{server.host}: {tls.explain(error)}") from error


async def _token(server: Server, *, refresh: bool) -> str:
    """Ask the caller, whose function may block or be a coroutine function."""
    assert server.token is not None  # noqa: S101 - the handshake only asks when there is one
    try:
        async with asyncio.timeout(server.timeouts.auth):
            token = await asyncio.to_thread(server.token, refresh)
            return token if isinstance(token, str) else await token
    except TimeoutError as error:
        raise AuthError(Phase.AUTH, "no access token in time") from error
    except SmtpError:
        raise
    except Exception as error:
        name = type(error).__name__
        raise AuthError(Phase.AUTH, f"no access token: {name} in the token source") from error

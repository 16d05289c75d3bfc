"""A development SMTP server that delivers nothing: it keeps what it gets, for tests and people.

In a test::

    with Catcher() as catcher:
        ...  # send to 127.0.0.1, catcher.port
        assert catcher.wait_for(1, timeout=10)
        catcher.messages[0].content

As a process, with pages to read the mail: ``python -m mailer.embedded.catcher``.
"""

import asyncio
import ssl
import threading
from concurrent.futures import Future
from typing import Self

import click
import uvicorn
import uvloop

from mailer.embedded.inbox import inbox
from mailer.embedded.smtp_sink import DROP, MAX_SIZE, Rules, Script, Stage, listen
from mailer.embedded.store import Caught, Store

__all__ = ["DROP", "Catcher", "Caught", "Script", "Stage", "accept"]


def accept(_stage: Stage, _address: str) -> None:
    """The script that takes everything."""
    return


class Catcher:
    """An SMTP server on a thread and loop of its own.

    Args:
        port: 0 takes a free one; see the attribute ``port``.
        script: decides replies, called on the catcher's thread; may be replaced at any time.
        tls: a server context, to offer STARTTLS.
        max_size: the longest message, in bytes.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        script: Script = accept,
        tls: ssl.SSLContext | None = None,
        max_size: int = MAX_SIZE,
    ) -> None:
        self.host = host
        self.port = port
        self.script = script
        self.store = Store()
        self._rules = Rules(self.store.add, lambda *stage: self.script(*stage), tls, max_size)
        self._listening: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, name="catcher", daemon=True)

    def start(self) -> Self:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        self._thread.start()
        self.port = self._listening.result()
        return self

    def stop(self) -> None:
        """Close the port and cut every connection."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def messages(self) -> list[Caught]:
        """The messages that are kept, in the order of their arrival."""
        return self.store.newest_first()[::-1]

    @property
    def count(self) -> int:
        """How many messages arrived."""
        return self.store.count

    def received(self, address: str) -> list[Caught]:
        """The kept messages with exactly this recipient on the envelope."""
        return [m for m in self.messages if address in m.recipients]

    def wait_for(self, count: int, timeout: float = 10) -> bool:
        """Wait until ``count`` messages arrived in all; False after ``timeout`` seconds."""
        return self.store.wait_for(count, timeout)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await listen(self._rules, self.host, self.port)
        except OSError as error:
            self._listening.set_exception(error)
            return
        self._listening.set_result(server.sockets[0].getsockname()[1])
        await self._end.wait()
        server.close()
        for session in list(self._rules.sessions):
            session.abort()
        await asyncio.sleep(0)  # lets the connections see their end


async def serve(host: str, smtp_port: int, http_port: int) -> None:
    """Catch mail and show it, until SIGINT or SIGTERM."""
    store = Store()
    await listen(Rules(store.add, accept), host, smtp_port)
    # An inbox on loopback answers only to loopback names, else any web page could read it by
    # pointing a name of its own at 127.0.0.1.
    names = ["127.0.0.1", "localhost"] if host == "127.0.0.1" else ["*"]
    settings = uvicorn.Config(
        inbox(store, names), host, http_port, log_level="warning", lifespan="off"
    )
    click.echo(f"SMTP on {host}:{smtp_port}, inbox at http://{host}:{http_port}")
    await uvicorn.Server(settings).serve()


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--smtp-port", default=1025, show_default=True)
@click.option("--http-port", default=8025, show_default=True)
def main(host: str, smtp_port: int, http_port: int) -> None:
    """Take every message sent to the SMTP port and show it on the HTTP port."""
    try:
        uvloop.run(serve(host, smtp_port, http_port))
    except OSError as error:
        raise click.ClickException(f"cannot listen: {error.strerror}") from None


if __name__ == "__main__":
    main()

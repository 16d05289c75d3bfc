"""The sink of the benchmark as a process: takes everything, keeps nothing. Prints its port."""

import uvloop

from mailer.embedded.catcher import accept
from mailer.embedded.smtp_sink import Rules, listen


async def main() -> None:
    """Serve until terminated."""
    server = await listen(Rules(lambda *_: None, accept), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())

"""The embedded broker, `python -m edgevlm.demo.embedded_broker`: amqtt on a free loopback port, silent.

Prints one line of JSON, `{"port": N}`, when it listens. It is a process of its own so that amqtt's logging,
warnings and tasks stay away from the daemon.
"""

from __future__ import annotations

import asyncio
import logging
import warnings

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker

from edgevlm.demo.lifeline import Lifeline

_CONFIG = {
    # We accept the connections ourselves: amqtt does not tell which port it got.
    "listeners": {"default": {"type": "external"}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}


async def serve() -> None:
    """Serve until the lifeline ends."""
    broker = Broker(_CONFIG)
    await broker.start()

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await broker.external_connected(StreamReaderAdapter(reader), StreamWriterAdapter(writer), "default")

    async with Lifeline() as lifeline:
        server = await asyncio.start_server(welcome, "127.0.0.1", 0)
        lifeline.say_ready(port=server.sockets[0].getsockname()[1])
        await lifeline.wait_ended()
        server.close()
    await broker.shutdown()


def main() -> None:
    """Silence what nobody reads, and serve."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    asyncio.run(serve())


if __name__ == "__main__":
    main()

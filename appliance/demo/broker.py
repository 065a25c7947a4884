"""The demonstration's own MQTT broker: loopback only, anonymous, a process of its own.

``python -m appliance.demo.broker --port P`` prints the port it listens on (0 chooses a free one) and
serves until SIGTERM, or until the process that started it is gone. It speaks MQTT 3.1.1.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
from collections.abc import Sequence

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType

HOST = "127.0.0.1"
PARENT_CHECK_S = 0.5
ANONYMOUS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


async def serve(port: int, parent: int) -> None:
    """Serve until SIGTERM, SIGINT or the end of ``parent``."""
    listener = "default"
    broker = Broker(BrokerConfig(listeners={listener: ListenerConfig(type=ListenerType.EXTERNAL)}, plugins=ANONYMOUS))
    await broker.start()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await broker.external_connected(StreamReaderAdapter(reader), StreamWriterAdapter(writer), listener)

    server = await asyncio.start_server(connected, HOST, port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await _ended(parent)
    server.close()
    await broker.shutdown()


async def _ended(parent: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    while os.getppid() == parent:
        try:
            await asyncio.wait_for(stop.wait(), PARENT_CHECK_S)
        except asyncio.TimeoutError:
            continue
        return


def main(words: Sequence[str] | None = None) -> int:
    """Run the broker; exit 1 when the port cannot be had."""
    parser = argparse.ArgumentParser(prog="appliance.demo.broker", description="MQTT broker of the demonstration")
    parser.add_argument("--port", type=int, default=0, help="port on the loopback interface; 0 chooses a free one")
    port = parser.parse_args(words).port
    logging.basicConfig(level=logging.CRITICAL)
    try:
        asyncio.run(serve(port, os.getppid()))
    except OSError as error:
        parser.exit(1, f"the demonstration's broker cannot listen on {HOST}:{port}: {error.strerror or error}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

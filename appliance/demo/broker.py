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
from contextlib import suppress
from typing import Any

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType

HOST = "127.0.0.1"
PARENT_CHECK_S = 0.5
FIRST_PACKET_LIMIT_S = 5.0
SHUTDOWN_LIMIT_S = 0.5
MQTT_3_1_1 = 4
WRONG_VERSION = bytes((0x20, 2, 0, 1))  # CONNACK: unacceptable protocol version
ANONYMOUS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


class _Resumed:
    """A connection whose first bytes were read already, as the library's ``ReaderAdapter``."""

    def __init__(self, reader: asyncio.StreamReader, start: bytes) -> None:
        self._reader = StreamReaderAdapter(reader)
        self._start = start

    def feed_eof(self) -> None:
        """Take note of the end."""
        self._reader.feed_eof()

    async def read(self, n: int = -1) -> bytes:
        """Return the first bytes once more, then what follows them."""
        if not self._start:
            return bytes(await self._reader.read(n))
        taken, self._start = self._start[:n], self._start[n:]
        return taken


async def _read_start(reader: asyncio.StreamReader) -> bytes:
    """Read a CONNECT up to its protocol level: type, remaining length (1 to 4 bytes), "MQTT", level.

    The library would read an MQTT 5 CONNECT as one of 3.1.1 and wait for bytes that never come.
    """
    start = await reader.readexactly(2)
    while start[-1] & 0x80 and len(start) < 5:
        start += await reader.readexactly(1)
    return start + await reader.readexactly(7)


def _give_what_was_asked_for_alone(broker: Broker) -> None:
    """Keep what others subscribed to from a client that connects: the library hands it their retained messages."""
    publish = broker._publish_retained_messages_for_subscription

    async def publish_to_subscribers(subscription: tuple[str, int], session: Any) -> None:
        if any(subscriber is session for subscriber, _ in broker.subscriptions.get(subscription[0], ())):
            await publish(subscription, session)

    broker._publish_retained_messages_for_subscription = publish_to_subscribers


async def serve(port: int, parent: int) -> None:
    """Serve until SIGTERM, SIGINT or the end of ``parent``."""
    listener = "default"
    broker = Broker(BrokerConfig(listeners={listener: ListenerConfig(type=ListenerType.EXTERNAL)}, plugins=ANONYMOUS))
    _give_what_was_asked_for_alone(broker)
    await broker.start()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            start = await asyncio.wait_for(_read_start(reader), FIRST_PACKET_LIMIT_S)
        except (asyncio.TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        if start[-1] != MQTT_3_1_1:
            writer.write(WRONG_VERSION)
            writer.close()
            return
        await broker.external_connected(_Resumed(reader, start), StreamWriterAdapter(writer), listener)

    server = await asyncio.start_server(connected, HOST, port)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await _ended(parent, stop)
    server.close()
    with suppress(asyncio.TimeoutError):  # it can wait for ever for clients that are still there
        await asyncio.wait_for(broker.shutdown(), SHUTDOWN_LIMIT_S)


async def _ended(parent: int, stop: asyncio.Event) -> None:
    """Wait for ``stop``, or for the parent to be gone."""
    while os.getppid() == parent and not stop.is_set():
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), PARENT_CHECK_S)


def main(words: Sequence[str] | None = None) -> int:
    """Run the broker; exit 1 when the port cannot be had."""
    parser = argparse.ArgumentParser(prog="appliance.demo.broker", description="MQTT broker of the demonstration")
    parser.add_argument("--port", type=int, default=0, help="port on the loopback interface; 0 chooses a free one")
    port = parser.parse_args(words).port
    logging.basicConfig(level=logging.CRITICAL)
    try:
        asyncio.run(serve(port, os.getppid()))
    except OSError as error:
        parser.exit(1, f"the demonstration's broker cannot listen on {HOST}:{port}: {os.strerror(error.errno or 0)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

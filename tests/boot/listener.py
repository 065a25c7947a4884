"""Hears everything on a broker and prints a line a message: when it came, its topic, its payload."""

import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.publish.connection import subscriber
from appliance.settings import Broker


def main(host: str, ca_file: str, user: str, password: str) -> None:
    turn = threading.Lock()

    def say(topic: str, payload: bytes) -> None:
        at_ns = time.monotonic_ns()
        with turn:
            print(at_ns, topic, payload.decode(), flush=True)

    with TemporaryDirectory() as folder:
        paths = Path(folder) / "user", Path(folder) / "password"
        for path, text in zip(paths, (user, password), strict=True):
            path.touch(0o600)
            path.write_text(text)
        broker = Broker(f"mqtts://{host}:8883", str(paths[0]), str(paths[1]), ca_file)
        connection = subscriber(broker, "listener", ["avatar/#"], say)
    connection.start()
    while not connection.status().connected:
        time.sleep(0.02)
    say("listening", b"1")
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])

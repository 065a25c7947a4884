"""How much work the page makes of a frame, and whether it grows.

    python -m tests.renderers.page_work --minutes 10 [--avatar FILE.glb] [--kiosk]

A device publishes the demonstration's session at 60 frames a second, for as long as told. The work is what the
page's main thread ran, by Chromium's own trace: the processor time of all its tasks, ours and the browser's, summed
for each sixtieth of a second. Drawing is done by a worker and, without a graphics card, by Chromium's process for
graphics; neither is work of the main thread, and neither is counted here. Memory is the JavaScript heaps of page and
worker after a forced collection, and what their process has in memory.
"""

import argparse
import itertools
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from .chromium import Browser
from .conftest import STREAM, Mosquitto, Viewer, frame

SESSION = Path(__file__).parent.parent / "sessions" / "demo.jsonl"
RATE_HZ = 60
TRACE_S = 10
SETTLE_S = 10
EVERY_S = 60
MB = 1e6


class Traced(Browser):
    """A browser that collects a trace."""

    def __init__(self, profile: Path) -> None:
        self.trace: list[dict[str, Any]] = []
        self.complete = False
        self.painter = ""
        super().__init__(profile)
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)

    def _listen(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Tracing.dataCollected":
            self.trace += message["params"]["value"]
        elif message.get("method") == "Tracing.tracingComplete":
            self.complete = True
        elif message.get("method") == "Target.attachedToTarget":
            self.painter = message["params"]["sessionId"]
        super()._listen(message)

    def main_thread_ms(self) -> npt.NDArray[np.float64]:
        """Milliseconds of main-thread work in each sixtieth of a second."""
        categories = ["toplevel", "__metadata"]
        self.call("Tracing.start", transferMode="ReportEvents", traceConfig={"includedCategories": categories})
        time.sleep(TRACE_S)
        self.call("Tracing.end")
        while not self.complete:
            self.evaluate("1")
            time.sleep(0.1)
        # The page's process is the one of them that works: others are spare.
        named = [one for one in self.trace if one["name"] == "thread_name" and one["args"]["name"] == "CrRendererMain"]
        tasks: dict[tuple[int, int], list[tuple[float, float]]] = {(one["pid"], one["tid"]): [] for one in named}
        for one in self.trace:
            if one["name"].endswith("RunTask") and one.get("ph") == "X" and (one["pid"], one["tid"]) in tasks:
                tasks[one["pid"], one["tid"]].append((one["ts"] / 1e6, one.get("tdur", one["dur"]) / 1e3))
        busiest = np.array(max(tasks.values(), key=lambda found: sum(ms for _, ms in found)))
        turns = ((busiest[:, 0] - busiest[0, 0]) * RATE_HZ).astype(int)
        return np.asarray(np.bincount(turns, busiest[:, 1], minlength=TRACE_S * RATE_HZ), np.float64)

    def heaps_mb(self) -> list[float]:
        """The page's heap and its worker's, after a collection."""
        sizes = []
        for thread in (None, self.painter):
            self.session = thread
            self.call("HeapProfiler.collectGarbage")
            sizes.append(float(self.call("Runtime.getHeapUsage")["usedSize"]) / MB)
        self.session = None
        return sizes

    def resident_mb(self) -> float:
        """What the largest of the browser's processes for pages has in memory."""
        sizes = [0.0]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (process / "cmdline").read_bytes()
                if b"--type=renderer" in arguments and str(self.profile).encode() in arguments:
                    sizes.append(float((process / "statm").read_text().split()[1]) * 4096 / MB)
            except OSError:  # it ended while we looked
                continue
        return max(sizes)


def publish(port: int, stop: threading.Event) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    session = [json.loads(line) for line in SESSION.read_text().splitlines()]
    due_s = time.monotonic()
    for seq, said in zip(itertools.count(1), itertools.cycle(session), strict=False):
        now = {"captured_ns": time.monotonic_ns(), "captured_utc_ns": time.time_ns()}
        client.publish(f"{STREAM}/frame", json.dumps({**frame(seq), **said, "seq": seq, **now}))
        due_s += 1 / RATE_HZ
        if stop.wait(max(0.0, due_s - time.monotonic())):
            break
    client.disconnect()
    client.loop_stop()


def measure(minutes: float, avatar: Path | None, kiosk: bool) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        broker = Mosquitto(Path(folder))
        viewer = Viewer(broker.url, *(["--avatar", str(avatar.resolve())] if avatar else []))
        browser = Traced(Path(folder) / "profile")
        stop = threading.Event()
        device = threading.Thread(target=publish, args=(broker.port, stop))
        try:
            browser.open(viewer.url + ("?kiosk=1" if kiosk else ""))
            device.start()
            time.sleep(SETTLE_S)
            report(browser, minutes)
        finally:
            stop.set()
            device.join()
            browser.close()
            viewer.end()
            broker.stop()


def report(browser: Traced, minutes: float) -> None:
    began_s, drawn, seq = time.monotonic(), browser.evaluate("avatar.drawn"), browser.evaluate("avatar.latest.seq")
    print("minute  heap MB  worker MB  resident MB  drawn/s  frames/s", flush=True)
    while True:
        passed_s = time.monotonic() - began_s
        done = browser.evaluate("avatar.drawn") - drawn, browser.evaluate("avatar.latest.seq") - seq
        page_mb, worker_mb = browser.heaps_mb()
        row = f"{passed_s / 60:6.1f}  {page_mb:7.2f}  {worker_mb:9.2f}  {browser.resident_mb():11.1f}"
        print(row + (f"  {done[0] / passed_s:7.1f}  {done[1] / passed_s:8.1f}" if passed_s > 1 else ""), flush=True)
        if passed_s >= 60 * minutes:
            break
        time.sleep(min(EVERY_S, 60 * minutes - passed_s + 0.1))
    work_ms = browser.main_thread_ms()
    p50, p99 = np.percentile(work_ms, [50, 99])
    print(f"main thread, ms a sixtieth of a second: mean {work_ms.mean():.2f}, median {p50:.2f}, p99 {p99:.2f}")
    print(f"turns over 8 ms: {(work_ms > 8).sum()} of {len(work_ms)}; {len(browser.complaints)} complaints")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--avatar", type=Path)
    parser.add_argument("--kiosk", action="store_true")
    options = parser.parse_args()
    measure(options.minutes, options.avatar, options.kiosk)

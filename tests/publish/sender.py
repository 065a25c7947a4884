"""A publisher in a process of its own that sends 60 frames a second, and says each second on a line how it is.

``python tests/publish/sender.py '{"url": "mqtts://..."}'``: the settings of ``[broker]``. Ends with its input.
"""

import dataclasses
import json
import resource
import sys
import threading
import time
from pathlib import Path

RATE_HZ = 60

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    from brokers import DEVICE, INFO, a_state

    from appliance.publish.mqtt import AvatarPublisher
    from appliance.settings import Broker

    publisher = AvatarPublisher(Broker(**json.loads(sys.argv[1])), DEVICE, INFO)
    publisher.start()
    state, begun_s, count = a_state(), time.monotonic(), 0
    sending_s = 0.0  # what this thread spent in the publisher; its own loop is no part of it
    took_ms: list[float] = []
    spent_ms: list[float] = []  # of the processor, which other programs' load changes less
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        count += 1
        made = dataclasses.replace(state, sequence=count, captured_ns=time.monotonic_ns())
        before_s, before_cpu_s = time.perf_counter(), time.thread_time()
        publisher.send(made)
        took_ms.append((time.perf_counter() - before_s) * 1e3)
        spent_ms.append((time.thread_time() - before_cpu_s) * 1e3)
        sending_s += time.thread_time() - before_cpu_s
        if count % RATE_HZ == 0:
            before_cpu_s = time.thread_time()
            publisher.health({"uptime_s": time.monotonic() - begun_s})
            sending_s += time.thread_time() - before_cpu_s
            used, status = resource.getrusage(resource.RUSAGE_SELF), publisher.status()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            said = {
                "at_s": time.monotonic() - begun_s,
                "cpu_s": used.ru_utime + used.ru_stime - time.thread_time() + sending_s,
                "rss_mb": pages * resource.getpagesize() / 2**20,
                "took_ms": took_ms,
                "spent_ms": spent_ms,
                **dataclasses.asdict(status),
            }
            print(json.dumps(said), flush=True)
            took_ms, spent_ms = [], []
        ended.wait(max(0.0, begun_s + count / RATE_HZ - time.monotonic()))
    publisher.close()

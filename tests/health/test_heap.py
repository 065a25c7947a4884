import subprocess
import sys
from collections.abc import Iterator

import pytest

from appliance.health.heap import trim
from appliance.health.watch import own_resident_mb

# Six threads take memory at the same time; then glibc writes down what it keeps where.
THREADS = """
import ctypes, sys, threading
from appliance.health.heap import one_arena

if sys.argv[1] == "one":
    one_arena()
meet = threading.Barrier(6)

def work():
    meet.wait()
    kept = [bytes(2000) for _ in range(1000)]
    meet.wait()

threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fopen(b"/proc/self/fd/1", b"w")))
libc.fflush(None)
"""


@pytest.fixture
def freed() -> Iterator[None]:
    """Half a gigabyte in small pieces, given back to the allocator, which keeps it."""
    pieces = [bytes(2000) for _ in range(250_000)]
    del pieces[::2]
    del pieces[:-1]
    yield
    del pieces


def test_what_was_freed_goes_back_to_the_system(freed: None) -> None:
    before_mb = own_resident_mb()

    trim()

    assert own_resident_mb() < before_mb


def arenas(said: str) -> int:
    """How many places six threads took memory from."""
    done = subprocess.run([sys.executable, "-c", THREADS, said], capture_output=True, text=True, check=True)
    return done.stdout.count("<heap nr=")


def test_all_threads_take_memory_from_one_place() -> None:
    assert arenas("one") == 1
    assert arenas("each") > 1  # what glibc does by itself

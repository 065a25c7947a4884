import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from appliance.health.processes import tree

GRANDCHILD = "import time; held = bytearray(b'x' * 30_000_000); print('ready', flush=True); time.sleep(60)"
CHILD = f"""
import subprocess, sys, time
began = time.process_time()
while time.process_time() - began < 0.3: pass
child = subprocess.Popen([sys.executable, "-c", {GRANDCHILD!r}])
try: time.sleep(60)
finally: child.kill()
"""


@pytest.fixture(scope="module")
def family() -> Iterator[int]:
    """A child that worked 0.3 s, with a child of its own that holds 30 MB."""
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child.pid
        for use in reversed(tree(child.pid)):
            os.kill(use.pid, 9)


def test_descendants_are_found_parents_first(family: int) -> None:
    uses = tree(family)

    assert [use.parent for use in uses] == [os.getpid(), family]
    assert uses[0].pid == family


def test_memory_and_work_are_those_of_each_process(family: int) -> None:
    parent, child = tree(family)

    assert child.rss_mb - parent.rss_mb > 20
    assert child.pss_mb is not None
    assert 28 < child.pss_mb <= child.rss_mb
    assert 0.25 <= parent.cpu_s < 5
    assert parent.cpu_s > child.cpu_s


def test_the_own_process_is_part_of_its_tree(family: int) -> None:
    assert {os.getpid(), family} <= {use.pid for use in tree(os.getpid())}


def test_a_process_that_is_not_there_has_no_tree() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert tree(ended.pid) == []

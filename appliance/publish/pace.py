"""How many frames may be on their way at once, so that none arrives late.

A connection and a broker together hold seconds of frames, and deliver them all when a jam is over. So no more
leave than the broker is known to keep up with. It is asked now and then for a sign of life; what was sent before a
question was read when the answer comes. The number of frames that may be unread is a window that widens when it
was too narrow for a prompt broker, and halves when an answer is slow, as that of TCP Vegas (Brakmo and Peterson 1995).
"""

import time
from collections.abc import Callable

PULSE_NS = 100_000_000
PROMPT_NS = 150_000_000
SLOW_NS = 300_000_000
STUCK_NS = 600_000_000
"""Who has not answered by then will deliver late what it holds: better to hang up."""

FIRST_WINDOW, NARROWEST, WIDEST = 12.0, 2.0, 256.0


class Pace:
    """What is unread on one connection. One thread sends, another hears; ``is_stuck`` may be asked from a third."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._window = FIRST_WINDOW
        self._sent = self._read = 0
        self._asked = 0  # how many had been sent when the broker was asked last
        self._asked_ns = 0
        self._waiting = False
        self._narrow = False

    def may_send(self) -> bool:
        """Tell whether one more frame may leave."""
        if self._sent - self._read < self._window:
            return True
        self._narrow = True
        return False

    def count(self) -> None:
        """Count a frame that left."""
        self._sent += 1

    def ask(self, idle: bool = False) -> bool:
        """Tell whether to ask the broker now, and take note that it is asked; ``idle``: even if nothing is unread."""
        if self._waiting:
            return False
        unread, now_ns = self._sent - self._read, self._clock_ns()
        due = now_ns - self._asked_ns >= PULSE_NS or unread * 2 >= self._window
        if not (idle or (unread and due)):
            return False
        self._asked, self._asked_ns, self._waiting = self._sent, now_ns, True
        return True

    def hear(self) -> None:
        """Take note that the broker answered."""
        if not self._waiting:
            return
        took_ns = self._clock_ns() - self._asked_ns
        if took_ns > SLOW_NS:
            self._window = max(self._window / 2, NARROWEST)
        elif self._narrow and took_ns < PROMPT_NS:
            self._window = min(self._window * 2, WIDEST)
        self._read, self._narrow, self._waiting = self._asked, False, False

    def is_stuck(self) -> bool:
        """Tell whether the broker owes an answer for too long."""
        return self._waiting and self._clock_ns() - self._asked_ns > STUCK_NS

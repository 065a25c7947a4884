"""Progress of long work: one line that changes on a terminal, now and then a plain line elsewhere."""

import sys
import time
from types import TracebackType

_TERMINAL_S, _PLAIN_S = 0.2, 10.0
_CLEAR = "\r\x1b[K"


class Progress:
    """Shows the latest word on standard error. Use it as a context, so that the line is cleared at the end."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._step_s = _TERMINAL_S if self._terminal else _PLAIN_S
        self._due_s = time.monotonic() + self._step_s

    def show(self, text: str) -> None:
        """Show a word, unless another was shown just now."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + self._step_s
        before, after = (_CLEAR, "") if self._terminal else ("", "\n")
        print(f"{before}{text}", end=after, file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            print(_CLEAR, end="", file=sys.stderr, flush=True)

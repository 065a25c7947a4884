"""What is poor about the sound that a device gives: it is heard all the same, and somebody should see to it."""

from collections import deque

import numpy as np

from appliance.listening.blocks import BLOCK_NS
from appliance.values import Float32

DEAD_NS = 5_000_000_000  # gates and mute switches of good microphones make pauses of zeros, too
CLIPPED_NS = 1_000_000_000
RATE_NS, RATES = 1_400_000_000, 3  # so many judgements of a kind in a row: a busy machine is late, then early
OVERRUNS, OVERRUNS_NS = 3, 2_000_000_000

_FULL, _CLIPPED_SHARE = 0.99, 0.05
_RATE_SLACK = 0.05  # 44.1 for 48 kHz is 8 percent

DEAD = "dead: it gives nothing but zeros; look at its switch, and at its level with: alsamixer"
CLIPPED = "over-driven: its sound is clipped; turn its level down with: alsamixer"
RATE = "wrong rate: it gives far more or less sound than its rate says; set microphone.rate to one that it has"
LOSSY = "overruns: sound is lost again and again, for this machine is too busy to fetch it"


class SoundScrutiny:
    """Looks at every block of one run of a device."""

    def __init__(self) -> None:
        self._said = ""
        self._moved_ns = self._rate_since_ns = self._rate_blocks = 0
        self._clipped: deque[float] = deque(maxlen=CLIPPED_NS // BLOCK_NS)
        self._overruns, self._overran_ns = 0, deque[int](maxlen=OVERRUNS)
        self._rates: deque[int] = deque(maxlen=RATES)  # 1 for too much sound, -1 for too little

    def poor(self, samples: Float32, overruns: int, now_ns: int) -> str | None:
        """Return what is poor by now, empty once all is well; ``None`` where nothing changed.

        ``overruns`` counts them since ever, ``now_ns`` is when the block was in hand.
        """
        lossy = self._is_lossy(overruns, now_ns)  # first: a rate is not judged over a gap
        rate_fault = self._judge_rate(now_ns)
        found = lossy or self._is_dead(samples, now_ns) or self._is_clipped(samples) or rate_fault
        if found == self._said:
            return None
        self._said = found
        return found

    def _is_lossy(self, overruns: int, now_ns: int) -> str:
        if overruns != self._overruns:
            self._overruns = overruns
            self._overran_ns.append(now_ns)
            self._rate_blocks = 0
        many = len(self._overran_ns) == OVERRUNS and now_ns - self._overran_ns[0] < OVERRUNS_NS
        return LOSSY if many else ""

    def _is_dead(self, samples: Float32, now_ns: int) -> str:
        if self._moved_ns == 0 or samples.min() != samples.max():
            self._moved_ns = now_ns
        return DEAD if now_ns - self._moved_ns >= DEAD_NS else ""

    def _is_clipped(self, samples: Float32) -> str:
        self._clipped.append(float(np.count_nonzero(np.abs(samples) >= _FULL)) / len(samples))
        whole = len(self._clipped) == self._clipped.maxlen
        return CLIPPED if whole and sum(self._clipped) > _CLIPPED_SHARE * len(self._clipped) else ""

    def _judge_rate(self, now_ns: int) -> str:
        """Hold the sound of each ``RATE_NS`` against the time that it took."""
        if self._rate_blocks == 0:
            self._rate_since_ns = now_ns
        took_ns = now_ns - self._rate_since_ns
        if took_ns >= RATE_NS:
            share = self._rate_blocks * BLOCK_NS / took_ns
            self._rates.append((share > 1 + _RATE_SLACK) - (share < 1 - _RATE_SLACK))
            self._rate_blocks, self._rate_since_ns = 0, now_ns
        self._rate_blocks += 1
        return RATE if abs(sum(self._rates)) == RATES else ""

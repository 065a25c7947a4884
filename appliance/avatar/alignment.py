"""How much a microphone's stamps lag behind a camera's, found by watching a mouth speak.

Both are stamped on one clock, but a camera may hold a picture for a tenth of a second before its
driver stamps it, and a wireless microphone its sound for longer. Where a mouth is seen and heard to
open and close, the shift at which the two agree best tells the difference.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float64]

KEPT_S = 8.0
_STEP_S = 0.02
_FARTHEST_S = 0.3
_LEAST_SPOKEN_S = 3.0
_LEAST_AGREEMENT = 0.5
_CLEARLY = 0.1  # so much less any shift agrees that lies
_HEARD_MOVING = 0.15  # a voice that opens its mouth by less in seconds says nothing of whose it is
_APART_S = 0.12  # this far from the best: syllables come so often that the next but one agrees, too

_SEEN_AT, _SEEN, _HEARD_AT, _HEARD, _COUNTS = range(5)


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """How far one mouth was open of late, as seen and as heard; one row a picture.

    Columns: when it was seen (seconds), how far open; when it was heard, how far open; whether both count:
    the mouth was seen well and a voice spoke.
    """

    rows: Rows = field(default_factory=lambda: np.zeros((0, 5)))

    def then(self, seen_ns: int, seen: float, heard_ns: int, heard: float, counts: bool) -> "Course":
        """The course with one row more, and without those that are too old."""
        row = [[seen_ns / 1e9, seen, heard_ns / 1e9, heard, counts]]
        recent = self.rows[:, _SEEN_AT] > seen_ns / 1e9 - KEPT_S
        return Course(np.concatenate([self.rows[recent], row]))

    def last(self, seconds: float) -> tuple[Rows, Rows]:
        """How far open it was seen and heard in the last so many seconds."""
        recent = self.rows[self.rows[:, _SEEN_AT] > self.rows[-1, _SEEN_AT] - seconds] if len(self.rows) else self.rows
        return recent[:, _SEEN], recent[:, _HEARD]


def agreement(course: Course, seconds: float, delay_s: float = 0.0) -> float | None:
    """How well a mouth went with a voice over the last seconds, -1..1; ``None`` where these say nothing of it."""
    rows = course.rows
    recent = rows[rows[:, _SEEN_AT] > rows[-1, _SEEN_AT] - seconds] if len(rows) else rows
    if len(recent) < 2 or rows[-1, _SEEN_AT] - rows[0, _SEEN_AT] < seconds or recent[:, _COUNTS].mean() < 0.5:
        return None
    times = np.arange(recent[0, _SEEN_AT], recent[-1, _SEEN_AT] - _FARTHEST_S, _STEP_S)
    heard = _heard(course, times + delay_s)
    return _correlation(_seen(course, times), heard) if len(heard) and np.ptp(heard) > _HEARD_MOVING else None


def estimate(course: Course) -> float | None:
    """By how many seconds the voice's stamps are later than the picture's; ``None`` where it is not clear."""
    rows = course.rows
    if len(rows) < 2 or rows[:, _COUNTS].sum() / len(rows) * np.ptp(rows[:, _SEEN_AT]) < _LEAST_SPOKEN_S:
        return None
    begin_s, end_s = max(rows[0, [_SEEN_AT, _HEARD_AT]]), min(rows[-1, [_SEEN_AT, _HEARD_AT]])
    times = np.arange(begin_s + _FARTHEST_S, end_s - _FARTHEST_S, _STEP_S)
    times = times[np.interp(times, rows[:, _SEEN_AT], rows[:, _COUNTS]) > 0.5]
    if len(times) * _STEP_S < _LEAST_SPOKEN_S / 2:
        return None
    shifts_s = np.arange(-_FARTHEST_S, _FARTHEST_S + _STEP_S / 2, _STEP_S)
    seen = _seen(course, times)
    agreements = np.array([_correlation(seen, _heard(course, times + shift_s)) for shift_s in shifts_s])
    return _peak(shifts_s, agreements)


def _peak(shifts_s: Rows, agreements: Rows) -> float | None:
    """Where agreement is greatest, if that is clear."""
    best = int(np.argmax(agreements))
    if not 0 < best < len(shifts_s) - 1 or agreements[best] < _LEAST_AGREEMENT:
        return None
    others = agreements[np.abs(shifts_s - shifts_s[best]) > _APART_S]
    if others.max(initial=-1.0) > agreements[best] - _CLEARLY:
        return None
    before, peak, after = agreements[best - 1 : best + 2]
    bend = before - 2 * peak + after
    return float(shifts_s[best] + _STEP_S * (0.5 * (before - after) / bend if bend < 0 else 0.0))


def _seen(course: Course, times_s: Rows) -> Rows:
    return np.interp(times_s, course.rows[:, _SEEN_AT], course.rows[:, _SEEN])


def _heard(course: Course, times_s: Rows) -> Rows:
    return np.interp(times_s, course.rows[:, _HEARD_AT], course.rows[:, _HEARD])


def _correlation(one: Rows, other: Rows) -> float:
    """Pearson's; 0 where either is still."""
    if len(one) < 2 or np.ptp(one) < 1e-3 or np.ptp(other) < 1e-3:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])

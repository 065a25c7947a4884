import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.listening.blocks import BlockCutter, HearingClock

PERIOD_NS = 10_000_000


def late_reads(reads: int, seed: int, drift_ppm: float = 0.0) -> tuple[list[int], list[int]]:
    """When periods were heard and when they were in hand: mostly at once, sometimes long after, in order."""
    random = np.random.default_rng(seed)
    heard_ns = (5_000_000_000 + np.arange(1, reads + 1) * PERIOD_NS * (1 + drift_ppm / 1e6)).astype(np.int64)
    late_ns = random.exponential(300_000, reads) + (random.random(reads) < 0.05) * random.uniform(0, 1e8, reads)
    in_hand_ns = np.maximum.accumulate(heard_ns + late_ns.astype(np.int64)) + np.arange(reads)
    return heard_ns.tolist(), in_hand_ns.tolist()


@pytest.mark.parametrize("drift_ppm", [-100.0, 0.0, 100.0])
def test_lateness_of_the_reader_does_not_enter_the_stamps(drift_ppm: float) -> None:
    heard_ns, in_hand_ns = late_reads(3000, seed=5, drift_ppm=drift_ppm)
    clock = HearingClock(16000)

    stamps = [clock.heard_ns(160, read_ns) for read_ns in in_hand_ns]

    error_ns = np.array(stamps[200:]) - np.array(heard_ns[200:])
    assert np.abs(error_ns).max() < 1_000_000
    assert np.diff(stamps[200:]).std() < 0.1 * np.diff(in_hand_ns[200:]).std()


def test_a_backlog_at_the_start_is_worked_off_backwards_in_time() -> None:
    clock = HearingClock(16000)
    heard_ns = [PERIOD_NS * count for count in range(100, 200)]
    in_hand_ns = [max(stamp, heard_ns[0] + 120_000_000 + index) for index, stamp in enumerate(heard_ns)]

    stamps = [clock.heard_ns(160, read_ns) for read_ns in in_hand_ns]

    assert np.all(np.diff(stamps) > 0)
    assert abs(stamps[-1] - heard_ns[-1]) < 100_000


def test_sound_that_went_missing_unsaid_is_noticed_within_four_seconds() -> None:
    clock = HearingClock(16000)
    heard_ns = [PERIOD_NS * count + (300_000_000 if count > 500 else 0) for count in range(1, 1000)]

    stamps = [clock.heard_ns(160, stamp) for stamp in heard_ns]

    assert abs(stamps[499] - heard_ns[499]) < 100_000
    assert abs(stamps[905] - heard_ns[905]) < 100_000


@given(st.lists(st.tuples(st.integers(1, 2000), st.integers(1, 200_000_000)), min_size=1, max_size=60))
def test_stamps_never_go_back_and_never_lead_the_read(reads: list[tuple[int, int]]) -> None:
    clock, cutter, now_ns, last_ns = HearingClock(16000), BlockCutter(16000), 10**9, 0

    for frames, pause_ns in reads:
        now_ns += pause_ns
        heard_ns = clock.heard_ns(frames, now_ns)
        assert heard_ns <= now_ns
        for _, stamp_ns in cutter.cut(np.zeros((frames, 1), np.float32), heard_ns):
            assert stamp_ns > last_ns
            last_ns = stamp_ns


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("quality", ["LQ", "HQ"])
def test_a_stamp_names_the_moment_of_its_last_sample(rate: int, quality: str) -> None:
    """The sound is a ramp that says its own time, so a filter's delay would show."""
    cutter = BlockCutter(rate, quality)
    frames = (np.arange(1, 2 * rate + 1)[:, np.newaxis] / rate / 4).astype(np.float32)
    step = rate // 100

    cut = [
        block
        for start in range(0, len(frames), step)
        for block in cutter.cut(frames[start : start + step], round(float(frames[start + step - 1, 0]) * 4e9))
    ]

    said_ns = np.array([samples[-1] * 4e9 for samples, _ in cut])
    stamped_ns = np.array([stamp for _, stamp in cut])
    assert len(cut) >= 190
    assert np.abs(said_ns - stamped_ns)[20:].max() < 200_000  # 0.1 ms is one frame of the coarsest rate


def test_blocks_do_not_depend_on_how_sound_arrives() -> None:
    sound = np.random.default_rng(2).standard_normal((4000, 1)).astype(np.float32)
    whole, pieces = BlockCutter(16000), BlockCutter(16000)

    at_once = whole.cut(sound, 250_000_000)
    bit_by_bit = [block for start in range(0, 4000, 37) for block in pieces.cut(sound[start : start + 37], 0)]

    assert len(at_once) == 25
    for (expected, _), (samples, _) in zip(at_once, bit_by_bit, strict=True):
        np.testing.assert_array_equal(samples, expected)

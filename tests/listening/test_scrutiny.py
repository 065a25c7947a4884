import numpy as np
import pytest

from appliance.listening.blocks import BLOCK_NS, BLOCK_SAMPLES
from appliance.listening.scrutiny import CLIPPED, DEAD, DEAD_NS, LOSSY, RATE, SoundScrutiny
from appliance.values import Float32

SECOND = 1_000_000_000 // BLOCK_NS  # blocks


def noise(number: int, peak: float = 0.1) -> Float32:
    return np.random.default_rng(number).uniform(-peak, peak, BLOCK_SAMPLES).astype(np.float32)


def heard(scrutiny: SoundScrutiny, blocks: list[Float32], step_ns: int = BLOCK_NS, from_ns: int = 1) -> list[str]:
    told = [scrutiny.poor(block, 0, from_ns + number * step_ns) for number, block in enumerate(blocks)]
    return [words for words in told if words is not None]


def test_a_microphone_that_hears_a_quiet_room_is_well() -> None:
    assert heard(SoundScrutiny(), [noise(number, 1e-4) for number in range(10 * SECOND)]) == []


def test_nothing_but_zeros_is_told_after_a_while_and_over_with_the_first_sound() -> None:
    zeros = (DEAD_NS // BLOCK_NS + 20) * [np.zeros(BLOCK_SAMPLES, np.float32)]

    assert heard(SoundScrutiny(), [*zeros, noise(1)]) == [DEAD, ""]
    assert heard(SoundScrutiny(), [*zeros[: len(zeros) // 2], noise(1)]) == []


def test_clipped_sound_is_told_and_a_single_clap_is_not() -> None:
    loud = [np.sign(noise(number)) for number in range(3 * SECOND)]
    quiet = [noise(number) for number in range(3 * SECOND)]

    assert heard(SoundScrutiny(), [*loud, *quiet]) == [CLIPPED, ""]
    assert heard(SoundScrutiny(), [*quiet, *loud[:2], *quiet]) == []


@pytest.mark.parametrize(("pace", "told"), [(1.0, []), (1.001, []), (44100 / 48000, [RATE]), (1.1, [RATE])])
def test_a_rate_that_is_not_what_the_device_says_is_told(pace: float, told: list[str]) -> None:
    blocks = [noise(number) for number in range(8 * SECOND)]

    assert heard(SoundScrutiny(), blocks, round(BLOCK_NS / pace)) == told


def test_a_machine_that_is_late_once_has_no_wrong_rate() -> None:
    scrutiny, blocks = SoundScrutiny(), [noise(number) for number in range(4 * SECOND)]

    on_time = heard(scrutiny, blocks)
    late = heard(scrutiny, blocks, from_ns=1 + len(blocks) * BLOCK_NS + 150_000_000)

    assert on_time + late == []


def test_overruns_are_told_when_there_are_many_and_over_when_they_are() -> None:
    scrutiny = SoundScrutiny()
    overruns = [min(number // 50, 4) for number in range(10 * SECOND)]  # four in the first seconds, half a second apart

    told = [scrutiny.poor(noise(number), count, 1 + number * BLOCK_NS) for number, count in enumerate(overruns)]

    assert [words for words in told if words is not None] == [LOSSY, ""]

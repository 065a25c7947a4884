"""Ranges from values."""

import numpy as np
import pytest

from calibration.spread import BINS, Spread
from engines.errors import EngineError
from engines.ranges import METHODS

RNG = np.random.default_rng(0)


def spread_of(*batches: np.ndarray) -> Spread:
    spread = Spread()
    for batch in batches:
        spread.add(batch.astype(np.float32))
    return spread


def test_minmax_covers_everything_and_no_more() -> None:
    assert spread_of(np.array([-3.0, 0.0]), np.array([1.0, 7.5])).range("minmax") == (-3.0, 7.5)


@pytest.mark.parametrize("method", METHODS)
def test_no_range_goes_beyond_what_was_seen(method: str) -> None:
    low, high = spread_of(np.maximum(RNG.normal(0, 1, 50_000), 0)).range(method)

    assert low == 0
    assert 1 < high <= 5


def test_growing_values_lose_no_count_and_little_precision() -> None:
    batches = [RNG.normal(0, scale, 5_000) for scale in (0.01, 1, 30)]
    at_once = np.concatenate(batches)

    spread = spread_of(*batches)

    assert spread.counts.sum() == at_once.size
    assert spread.width * BINS <= 4 * np.abs(at_once).max()
    assert spread.range("percentile")[1] == pytest.approx(np.percentile(np.abs(at_once), 99.99), rel=0.03)


def test_batches_and_one_heap_give_the_same_range() -> None:
    values = RNG.normal(0, 1, (20, 5_000))
    values[0, 0] = np.abs(values).max() + 1e-3  # so that both begin with bins of one width

    assert spread_of(*values).range("mse") == spread_of(values).range("mse")


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_one_outlier_does_not_take_the_digits_of_all(method: str) -> None:
    values = np.append(RNG.normal(0, 1, 400_000), 60.0)

    assert spread_of(values).range(method)[1] < 30


def test_mse_has_the_least_error_of_all_methods() -> None:
    values = RNG.laplace(0, 1, 100_000).astype(np.float32)
    spread = spread_of(values)

    def error(method: str) -> float:
        scale = max(map(abs, spread.range(method))) / 127
        return float(np.mean((np.clip(np.rint(values / scale), -127, 127) * scale - values) ** 2))

    assert min(METHODS, key=error) == "mse"


def test_what_never_fired_has_a_range_that_holds_zero() -> None:
    assert spread_of(np.zeros(10)).range("mse") == (0.0, 1.0)


def test_zeros_before_the_first_value_are_counted() -> None:
    spread = spread_of(np.zeros(99), np.ones(1))

    assert (spread.counts[0], spread.counts.sum()) == (99, 100)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_no_number_is_refused(wrong: float) -> None:
    with pytest.raises(EngineError, match="an activation must be finite"):
        spread_of(np.array([1.0, wrong]))


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(EngineError, match="must be one of percentile, entropy, mse, minmax, got 'guess'"):
        spread_of(np.ones(1)).range("guess")

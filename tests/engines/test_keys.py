"""Which engine the daemon loads and the builder makes."""

from dataclasses import replace
from pathlib import Path

import pytest
from boards import ORIN, UPDATED

from engines.errors import EngineError
from engines.keys import LOST_RANGES, NO_RANGES, OLD_RANGES, Choice, Wanted, choose_engine, find_held_out, keys_in_use
from engines.manifest import MODELS, NO_EIGHT_BITS
from engines.networks import Network, network
from engines.precision import against
from engines.ranges import Ranges, write_ranges
from engines.store import Record, Store

SMALL = Network("small", Path("small.onnx"), "a1b2", "", {"x": ("batch", 3)}, {"y": 0.1})
RANGES = Ranges("small", "a1b2", "percentile", {"x": (0.0, 1.0)}, 64)


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    return Wanted("int8", tmp_path / "engines", tmp_path / "calibration")


@pytest.fixture
def calibrated(wanted: Wanted) -> Wanted:
    (wanted.calibration / "small").mkdir(parents=True)
    write_ranges(RANGES, wanted.calibration / "small/ranges.json")
    return wanted


def test_int8_with_ranges_is_int8(calibrated: Wanted) -> None:
    choice = choose_engine(SMALL, calibrated, ORIN, Store(calibrated.engines))

    assert (choice.key.precision, choice.fallback, choice.ranges) == ("int8", "", RANGES)
    assert choice.key.calibration_sha256 == RANGES.sha256()


def test_int8_without_ranges_is_fp16_and_says_so(wanted: Wanted) -> None:
    choice = choose_engine(SMALL, wanted, ORIN, Store(wanted.engines))

    assert (choice.key.precision, choice.fallback) == ("fp16", NO_RANGES)


def test_a_network_that_eight_bits_break_is_fp16_without_a_word(calibrated: Wanted) -> None:
    choice = choose_engine(replace(SMALL, method=NO_EIGHT_BITS), calibrated, ORIN, Store(calibrated.engines))

    assert (choice.key.precision, choice.fallback) == ("fp16", "")


def test_int8_that_was_refused_is_fp16_and_says_why(calibrated: Wanted) -> None:
    store = Store(calibrated.engines)
    first = choose_engine(SMALL, calibrated, ORIN, store)
    with store.locked(print):
        store.refuse(first.key, "misses its tolerance")

    choice = choose_engine(SMALL, calibrated, ORIN, store)

    assert (choice.key.precision, choice.fallback, choice.ranges) == ("fp16", "misses its tolerance", None)
    assert keys_in_use(SMALL, calibrated, ORIN, store) == [first.key, choice.key]


def test_int8_that_was_slower_here_is_fp16_by_choice(calibrated: Wanted) -> None:
    store = Store(calibrated.engines)
    first = choose_engine(SMALL, calibrated, ORIN, store)
    with store.locked(print):
        store.refuse(first.key, against(0.3, 0.2))

    choice = choose_engine(SMALL, calibrated, ORIN, store)

    assert (choice.key.precision, choice.fallback) == ("fp16", "")
    assert choice.preferred == "int8 is not faster than fp16 here: 0.300 against 0.200 ms"
    assert keys_in_use(SMALL, calibrated, ORIN, store) == [first.key, choice.key]


@pytest.mark.parametrize("change", [{"onnx_sha256": "of an older file"}, {"form": "of older rewrites"}])
def test_ranges_of_an_older_network_give_way_to_those_that_ship(wanted: Wanted, change: dict[str, str]) -> None:
    viseme, store = network("viseme", wanted.engines), Store(wanted.engines)
    shipped = choose_engine(viseme, wanted, ORIN, store)
    assert shipped.ranges is not None
    folder = wanted.calibration / "viseme"
    folder.mkdir(parents=True)
    (folder / "held_out.npz").write_bytes(b"of the older network, too")
    write_ranges(replace(shipped.ranges, **change), folder / "ranges.json")

    choice = choose_engine(viseme, wanted, ORIN, store)

    assert (choice.key, choice.ranges) == (shipped.key, shipped.ranges)
    assert (choice.fallback, choice.passed_over, shipped.passed_over) == ("", OLD_RANGES, "")
    assert find_held_out(viseme, wanted.calibration) == MODELS / "viseme/held_out.npz"


def built(store: Store, choice: Choice) -> None:
    """Put an engine into the store as a build does."""
    with store.locked(print):
        store.put(Record(choice.key, f"{choice.key.stem}.plan", "", 0, 0.0, 0.0, "", "64 held-out inputs", {}), b"")


def test_a_board_that_lost_its_calibration_says_so(calibrated: Wanted) -> None:
    store = Store(calibrated.engines)
    built(store, choose_engine(SMALL, calibrated, ORIN, store))
    (calibrated.calibration / "small/ranges.json").unlink()

    assert choose_engine(SMALL, calibrated, UPDATED, store).fallback == LOST_RANGES


def test_lost_ranges_are_told_where_those_that_ship_take_their_place(wanted: Wanted) -> None:
    viseme, store = network("viseme", wanted.engines), Store(wanted.engines)
    shipped = choose_engine(viseme, wanted, ORIN, store)
    built(store, shipped)
    before = choose_engine(viseme, wanted, UPDATED, store)
    assert shipped.ranges is not None
    folder = wanted.calibration / "viseme"
    folder.mkdir(parents=True)
    write_ranges(replace(shipped.ranges, samples=shipped.ranges.samples + 1), folder / "ranges.json")
    own = choose_engine(viseme, wanted, ORIN, store)
    built(store, own)
    (folder / "ranges.json").unlink()

    after = choose_engine(viseme, wanted, UPDATED, store)

    assert (before.passed_over, own.passed_over, after.passed_over) == ("", "", LOST_RANGES)
    assert after.key == before.key


def test_ranges_of_an_older_network_are_an_error_where_none_ship(calibrated: Wanted) -> None:
    newer = replace(SMALL, onnx_sha256="c3d4")

    with pytest.raises(EngineError, match=r"must be of small \(c3d4, gpu-stacked\).*appliance calibrate ranges"):
        choose_engine(newer, calibrated, ORIN, Store(calibrated.engines))


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_other_precisions_do_not_depend_on_calibration(calibrated: Wanted, tmp_path: Path, precision: str) -> None:
    with_ranges = replace(calibrated, precision=precision)
    without = replace(with_ranges, calibration=tmp_path / "elsewhere")
    store = Store(calibrated.engines)

    assert choose_engine(SMALL, with_ranges, ORIN, store).key == choose_engine(SMALL, without, ORIN, store).key


def test_the_key_carries_what_the_builder_is_told(calibrated: Wanted) -> None:
    store = Store(calibrated.engines)

    old = choose_engine(SMALL, calibrated, ORIN, store).key
    new = choose_engine(SMALL, replace(calibrated, largest_batch=16, optimisation_level=5), UPDATED, store).key
    fixed = choose_engine(replace(SMALL, inputs={"x": (1, 3)}), calibrated, ORIN, store).key

    assert old.build == "batch 1 2..8; level 3; INT8 FP16; preparation 2"
    assert new.build == "batch 1 2..16; level 5; STRONGLY_TYPED; preparation 2"
    assert fixed.build.startswith("batch 1; ")

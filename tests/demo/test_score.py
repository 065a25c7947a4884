import math

import numpy as np
import pytest

from appliance.demo.score import CHANNELS, correlation, delays, roll_deg, score, settled

FPS = 10.0


def a_truth(frames=100, away=(40, 60)):
    t = np.arange(frames)
    visible = np.ones(frames)
    visible[slice(*away)] = 0
    truth = {name: np.sin(t / (3 + index)) for index, name in enumerate(sorted(set(CHANNELS.values())))}
    return truth | {"visible": visible, "fps": np.array(FPS)}


def exact_outputs(truth, frames):
    return {name: truth[true][frames % len(truth["visible"])].copy() for name, true in CHANNELS.items()}


def states_after(visible, delay):
    """Return states that follow the picture ``delay`` rows late."""
    late = np.concatenate([np.full(delay, visible[0]), visible[: len(visible) - delay]])
    return ["tracking" if seen else "lost" for seen in late]


def test_outputs_equal_to_the_truth_score_one_and_nothing_is_late():
    truth, frames = a_truth(), np.arange(100)

    result = score(exact_outputs(truth, frames), states_after(truth["visible"], 0), frames, truth)

    assert all(value == pytest.approx(1) for value in result.correlation.values())
    assert (result.found_s, result.lost_s) == ((0.0,), (0.0,))


def test_delays_are_counted_in_clip_time():
    truth, frames = a_truth(), np.arange(100)

    result = score(exact_outputs(truth, frames), states_after(truth["visible"], 3), frames, truth)

    assert result.found_s == pytest.approx((0.3,))
    assert result.lost_s == pytest.approx((0.3,))


def test_frames_dropped_on_the_way_count_as_delay():
    truth = a_truth()
    frames = np.array([n for n in range(100) if n not in (61, 62)])
    states = ["tracking" if n < 40 or n > 60 else "lost" for n in frames]

    assert score(exact_outputs(truth, frames), states, frames, truth).found_s == pytest.approx((0.3,))


def test_a_second_loop_of_the_clip_counts_too():
    truth, frames = a_truth(), np.arange(250)

    result = score(exact_outputs(truth, frames), states_after(truth["visible"][frames % 100], 1), frames, truth)

    assert result.found_s == pytest.approx((0.1, 0.1))
    assert result.lost_s == pytest.approx((0.1, 0.1, 0.1))


def test_acquiring_counts_as_found():
    truth, frames = a_truth(), np.arange(100)
    states = ["tracking"] * 40 + ["lost"] * 20 + ["acquiring"] * 40

    assert score(exact_outputs(truth, frames), states, frames, truth).found_s == (0.0,)


def test_what_is_said_while_the_face_is_away_does_not_spoil_the_correlation():
    truth, frames = a_truth(), np.arange(100)
    outputs = exact_outputs(truth, frames)
    for values in outputs.values():
        values[40:64] = 7

    result = score(outputs, states_after(truth["visible"], 0), frames, truth)

    assert all(value == pytest.approx(1) for value in result.correlation.values())


def test_a_channel_that_never_moves_has_no_correlation():
    truth, frames = a_truth(), np.arange(100)
    outputs = exact_outputs(truth, frames) | {"jawOpen": np.zeros(100)}

    result = score(outputs, states_after(truth["visible"], 0), frames, truth)

    assert math.isnan(result.correlation["jawOpen"])
    assert result.correlation["roll_deg"] == pytest.approx(1)


def test_inverted_outputs_score_minus_one():
    assert correlation(np.array([0.0, 1, 2]), np.array([5.0, 3, 1])) == pytest.approx(-1)


@pytest.mark.parametrize("frames", [[], [3, 2, 4], [1, 1, 2]], ids=["none", "back", "twice"])
def test_frames_that_do_not_ascend_are_refused(frames):
    with pytest.raises(ValueError, match="ascending"):
        score(
            {name: np.zeros(len(frames)) for name in CHANNELS}, ["tracking"] * len(frames), np.array(frames), a_truth()
        )


@pytest.mark.parametrize(
    ("expected", "given", "late_s"),
    [
        ("001111", "001111", (0.0,)),
        ("001111", "000011", (0.2,)),
        ("001110", "000000", (math.inf,)),
        ("001110", "000001", (math.inf,)),
        ("001111", "000000", ()),
        ("111111", "000111", ()),
        ("010110", "010010", (0.0, 0.1)),
        ("001111", "111111", (0.0,)),
        ("000000", "111111", ()),
    ],
)
def test_delays_by_table(expected, given, late_s):
    as_truth = [np.array([letter == "1" for letter in word]) for word in (expected, given)]

    assert delays(np.arange(6) / FPS, *as_truth) == pytest.approx(late_s)


def test_a_face_counts_again_half_a_second_after_its_return():
    visible = np.ones(40)
    visible[10:20] = 0.9

    assert np.flatnonzero(~settled(visible, FPS)).tolist() == list(range(10, 25))


def test_a_face_that_never_leaves_always_counts():
    assert settled(np.ones(20), FPS).all()


@pytest.mark.parametrize("degrees", [-170, -15, 0, 12, 90])
def test_roll_is_the_turn_about_the_axis_out_of_the_picture(degrees):
    half = math.radians(degrees) / 2

    assert roll_deg((0, 0, math.sin(half), math.cos(half))) == pytest.approx(degrees)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0)], ids=["nod", "turn"])
def test_a_nod_or_a_turn_alone_is_no_roll(axis):
    half = math.radians(20) / 2

    assert roll_deg((*(math.sin(half) * part for part in axis), math.cos(half))) == pytest.approx(0)

"""The fit of how alike two looks at one person are, on people whose spread is known."""

import numpy as np
import pytest

from appliance.avatar.channels import BLENDSHAPES
from engines.training.bones import BATCH, Person, distances, from_the_front, looks, spread, whitening
from engines.training.renders_scenes import sample_scenes


def people(count: int, within: np.ndarray, seed: int = 1) -> list[Person]:
    """Each ten looks, about a middle of their own that is twenty times as far away from others."""
    rng = np.random.default_rng(seed)
    middles = 20 * within.diagonal().max() ** 0.5 * rng.normal(0, 1, (count, 6))
    root = np.linalg.cholesky(within)
    return [Person((middle + rng.normal(0, 1, (10, 6)) @ root.T).astype(np.float32)) for middle in middles]


def some_spread() -> np.ndarray:
    root = np.diag([0.01, 0.02, 0.01, 0.03, 0.02, 0.01]) + 0.003 * np.eye(6, k=1)
    return root @ root.T


def test_a_look_is_the_mean_of_pictures_in_a_row() -> None:
    lengths = [np.full(6, number, np.float32) for number in range(7)]

    assert [float(look[0]) for look in looks(lengths, 3)] == [1, 4]


def test_the_spread_is_that_within_a_person_however_far_people_are_apart() -> None:
    within = some_spread()

    assert spread(people(200, within)) == pytest.approx(within, abs=0.15 * within.max())


def test_whitened_looks_at_one_person_are_1_4_apart_and_other_people_far() -> None:
    whiten = whitening([spread(people(100, some_spread()))] * 2)

    same, other = distances(people(20, some_spread(), seed=2), whiten)

    assert len(same) == 20 * 45
    assert len(other) == 190 * 100
    assert np.median(same) == pytest.approx(1.4, abs=0.15)
    assert np.quantile(same, 0.99) < np.quantile(other, 0.01)
    assert np.allclose(whiten, np.triu(whiten))


def test_heads_that_face_the_lens_are_drawn_first() -> None:
    scenes = sample_scenes(16, 192, BLENDSHAPES, np.random.default_rng(1))

    chosen = from_the_front(scenes)

    toward_lens = -chosen.position_cm / np.linalg.norm(chosen.position_cm, axis=1, keepdims=True)
    forward = np.einsum("nij,nj->ni", chosen.rotation, np.array([[0, 0, 1]] * BATCH))
    assert np.degrees(np.arccos((toward_lens * forward).sum(1))).max() < 30
    assert len(chosen.looks["skin"]) == len(chosen.weights) == BATCH

"""Fit how alike two looks at one person are: the numbers of ``appliance.face.bones``.

    python -m engines.training.bones --models DIR --ict ict_light.npz [--people 60] [--each 12] CLIP...

People are those of the signing clips (CC BY 4.0, five signers) and drawn ones, whose every picture is another pose,
expression, light, camera and distance. A look is the mean of 20 pictures in a row, or of 4 drawn ones, which have no
more in common than a person has over seconds. Prints the whitening matrix, how far apart two looks at one person
are, and how many swaps of people go unseen below a threshold.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import atan, degrees
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from appliance.avatar.channels import BLENDSHAPES
from appliance.face import bones
from appliance.face.detector import Detector
from appliance.face.headpose import solve
from appliance.face.landmarks import MODEL, LandmarkReader
from appliance.face.regions import region_from_detection, region_from_landmarks
from appliance.settings import Camera
from appliance.values import Float32, HeadPose, Image, Landmarks
from engines.fetch import model_path
from engines.opening import open_runner
from engines.training.renders_scenes import Scenes

SIGNERS: Mapping[str, tuple[str, ...]] = {
    "A": ("again", "brother", "help", "no", "student", "yes"),
    "B": ("bird", "milk", "please", "sorry", "thanks"),
    "C": ("book", "school", "walk"),
    "D": ("eat", "night", "sister"),
    "E": ("hungry", "want", "learn"),
}
"""Who is seen in which clip."""

SPLIT = 1 / 100  # of the comparisons of a person with themselves may say that they are two
DRAWN_LOOK, DRAWN_PX, BATCH, FRONT_DEG = 4, 192, 4, 24.0
SHRUNK = 0.3  # of the covariances between lengths, for want of people


@dataclass(frozen=True, slots=True)
class Person:
    """Every look at one person, n x 6, as ``bones.measure`` gives lengths."""

    looks: Float32


def looks(lengths: Sequence[Float32], pictures: int) -> list[Float32]:
    """Means of so many pictures in a row; what is left over is dropped."""
    groups = [lengths[first : first + pictures] for first in range(0, len(lengths) - pictures + 1, pictures)]
    return [np.mean(group, axis=0) for group in groups]


def spread(people: Sequence[Person]) -> npt.NDArray[np.float64]:
    """The covariance of looks at one person about their mean, 6 x 6, every person counting by their looks."""
    about = [person.looks - person.looks.mean(0) for person in people if len(person.looks) > 1]
    free = sum(len(rows) - 1 for rows in about)
    return np.asarray(sum(rows.T @ rows for rows in about) / max(free, 1), np.float64)


def whitening(covariances: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """What makes the differences within a person alike and independent, 6 x 6, from several kinds of people."""
    mean = np.mean(covariances, axis=0)
    shrunk = (1 - SHRUNK) * mean + SHRUNK * np.diag(np.diag(mean))
    return np.asarray(np.linalg.cholesky(np.linalg.inv(shrunk)).T / np.sqrt(len(mean)))


def distances(people: Sequence[Person], whiten: npt.NDArray[np.float64]) -> tuple[Float32, Float32]:
    """How far apart looks are: at the same person, and at two people."""
    same = [np.linalg.norm(whiten @ (a - b)) for person in people for a, b in combinations(person.looks, 2)]
    other = [
        np.linalg.norm(whiten @ (a - b))
        for one, another in combinations(people, 2)
        for a in one.looks
        for b in another.looks
    ]
    return np.array(same, np.float32), np.array(other, np.float32)


class Measuring:
    """Our landmark network, and the bones of the faces that it finds."""

    def __init__(self, models: Path) -> None:
        self._detector = Detector(open_runner(model_path(models, "face_detector")))
        self._landmarks = LandmarkReader(open_runner(model_path(models, MODEL)))

    def film(self, clip: Path) -> Iterator[Float32]:
        """The lengths in every picture of a clip that shows the face well."""
        video, found = cv2.VideoCapture(str(clip)), None
        while True:
            read, image = video.read()
            if not read:
                return
            found = self._find(np.asarray(image, np.uint8), found)
            if found is not None:
                size_px = (image.shape[1], image.shape[0])
                yield from _measured(found, found.points_px, size_px, Camera("cam0", "file:x").horizontal_fov_deg)

    def photograph(self, image: Image, focal_px: float, centre_px: Float32) -> list[Float32]:
        """The lengths in one picture, if it shows the face well; the lens points at ``centre_px``."""
        found = self._find(image, None)
        found = self._find(image, found)  # a region from landmarks, as in a film
        if found is None:
            return []
        side_px = 2 * round(float(np.abs(centre_px).max()) + max(image.shape))
        moved = found.points_px + np.array([*(side_px / 2 - centre_px), 0], np.float32)
        return list(_measured(found, moved, (side_px, side_px), 2 * degrees(atan(side_px / 2 / focal_px))))

    def _find(self, image: Image, before: Landmarks | None) -> Landmarks | None:
        if before is not None:
            region = region_from_landmarks(before)
        else:
            detections = self._detector.find(image)
            if not detections:
                return None
            region = region_from_detection(max(detections, key=lambda one: one.score))
        found = self._landmarks.read([(image, region)])[0]
        return Landmarks(found.points_px.copy(), found.presence) if found.presence >= 0.5 else None


def _measured(found: Landmarks, points_px: Float32, size_px: tuple[int, int], fov_deg: float) -> Iterator[Float32]:
    head: HeadPose | None = solve(points_px, size_px, fov_deg)
    if head is not None and bones.seen_well(head, found.presence):
        yield bones.measure(points_px, head)


def filmed(measuring: Measuring, clips: Sequence[Path], who: Mapping[str, Sequence[str]]) -> list[Person]:
    """The people of clips; ``who`` names the clips of each."""
    people = []
    for stems in who.values():
        seen = [clip for clip in clips if clip.stem in stems]
        rows = [look for clip in seen for look in looks(list(measuring.film(clip)), bones.ENOUGH)]
        if rows:
            people.append(Person(np.array(rows)))
    return people


def drawn(measuring: Measuring, ict: Path, people: int, each: int, seed: int = 7) -> list[Person]:
    """People drawn ``each`` times."""
    from engines.training.renders import FaceRenderer

    renderer, random = FaceRenderer(ict, "cpu", BLENDSHAPES, DRAWN_PX), np.random.default_rng(seed)
    result = []
    for number in range(people):
        identity, lengths = int(random.integers(0, 2**31)), []
        for _ in range(0, each, BATCH):
            scenes = from_the_front(renderer.sample(4 * BATCH, random, np.full(4 * BATCH, identity)))
            pictures, _ = renderer.render(scenes)
            for picture, focal_px, centre_px in zip(pictures, scenes.focal_px, scenes.centre_px, strict=True):
                image = np.ascontiguousarray(picture[..., ::-1])
                lengths += measuring.photograph(image, float(focal_px), centre_px)
        rows = looks(lengths, DRAWN_LOOK)
        if rows:
            result.append(Person(np.array(rows)))
        print(f"person {number}: {len(lengths)} of {each} pictures", flush=True)
    return result


def from_the_front(scenes: Scenes) -> Scenes:
    """The first few of many scenes whose heads face the lens; those that face it most, where they are too few."""
    toward_lens = -scenes.position_cm / np.linalg.norm(scenes.position_cm, axis=1, keepdims=True)
    facing = np.einsum("nij,ni->nj", scenes.rotation, toward_lens)
    away_deg = np.degrees(np.arccos(np.clip(facing[:, 2], -1, 1)))
    rows = np.argsort(np.maximum(away_deg, FRONT_DEG), kind="stable")[:BATCH]
    looks = {name: values[rows] for name, values in scenes.looks.items()}
    arrays = {field: getattr(scenes, field)[rows] for field in ("weights", "identity", "shape", "rotation")}
    places = {field: getattr(scenes, field)[rows] for field in ("position_cm", "focal_px", "centre_px")}
    return replace(scenes, looks=looks, **arrays, **places)


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--ict", type=Path, required=True, help="the morphable face")
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--each", type=int, default=12)
    arguments = parser.parse_args()
    measuring = Measuring(arguments.models)
    real = filmed(measuring, arguments.clips, SIGNERS)
    made = drawn(measuring, arguments.ict, arguments.people, arguments.each)
    whiten = whitening([spread(real), spread(made)])
    print(np.array2string(np.round(whiten).astype(int), separator=", "))
    pairs = {"filmed": distances(real, whiten), "drawn": distances(made, whiten)}
    same = np.concatenate([one for one, _ in pairs.values()])
    limit = float(np.quantile(same, 1 - SPLIT))
    print(f"two looks at one person: median {np.median(same):.2f}, one in {1 / SPLIT:.0f} over {limit:.2f}")
    for name, (one, other) in pairs.items():
        split, missed = (one > limit).mean(), (other <= limit).mean()
        print(f"{name}: split {split:.4f} of {len(one)}, missed {missed:.2f} of {len(other)}")


if __name__ == "__main__":
    main()

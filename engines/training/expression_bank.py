"""Gather what the expression network is trained from: filmed people and the morphable face, as landmarks.

    python -m engines.training.expression_bank bank.npz --ict ict_light.npz --models DIR CLIP...

Every picture of every clip is read by our landmark network and by the teacher's, and labelled by the
teacher; ``--models`` is a folder filled by ``appliance models fetch --task face_landmarker.task``. The
ICT-FaceKit shapes (MIT, (c) 2020 USC Institute for Creative Technologies) are brought to our 478 points.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from appliance.face.canonical import canonical_face
from appliance.face.detector import Detector
from appliance.face.landmarks import LandmarkReader
from appliance.face.regions import region_from_detection, region_from_landmarks
from appliance.face.task_models import BLENDSHAPE_MODEL, LANDMARK_MODEL, POINTS
from appliance.values import Float32, Image, Region
from engines.fetch import model_path
from engines.opening import open_runner
from engines.runners import Runner
from engines.training.canonical_geometry import EYE_CENTRE_M

PRESENT = 0.5
SKIN = 9409  # the mesh's first vertices
_RINGS = (((468, 473), (33, 133, 159, 145)), ((473, 478), (263, 362, 386, 374)))  # an iris goes with its lids


def morphable(path: Path) -> dict[str, Any]:
    """The average face, 53 expression and 30 identity offsets at our landmarks, in metres."""
    average_m = canonical_face().points_m
    with np.load(path, allow_pickle=True) as file:
        vertices_m = file["neutral"][:SKIN] / 100 - [0, EYE_CENTRE_M[1], EYE_CENTRE_M[2]]
        apart = np.linalg.norm(vertices_m[None] - average_m[:, None], axis=2)
        near = np.argsort(apart, axis=1)[:, :4]
        share = 1 / (np.take_along_axis(apart, near, 1) + 1e-4)
        share /= share.sum(1, keepdims=True)
        expressions, identities = (
            np.einsum("evkc,vk->evc", file[name][:, :SKIN].astype(np.float32)[:, near] / 100, share)
            for name in ("E", "I")
        )
        names = np.array([str(name) for name in file["ex"]])
    expressions[:, 468:] = 0  # eyes turn, they do not stretch
    for (first, after), ring in _RINGS:
        identities[:, first:after] = identities[:, list(ring)].mean(1, keepdims=True)
    return {
        "average_m": average_m,
        "expressions_m": expressions.astype(np.float32),
        "identities_m": identities.astype(np.float32),
        "expression_names": names,
    }


class Reader:
    """One landmark network that follows one face through a clip."""

    def __init__(self, detector: Detector, landmarks: LandmarkReader) -> None:
        self._detector, self._landmarks = detector, landmarks
        self._region: Region | None = None

    def read(self, image: Image) -> Float32 | None:
        """478 x 3 points of the picture; ``None`` where no face is."""
        if self._region is None:
            found = self._detector.find(image)
            self._region = region_from_detection(found[0]) if found else None
        if self._region is None:
            return None
        read = self._landmarks.read([(image, self._region)])[0]
        self._region = region_from_landmarks(read) if read.presence >= PRESENT else None
        return read.points_px.copy() if self._region else None


def filmed(models: Path, clips: list[Path]) -> dict[str, Any]:
    """Every picture in which both networks see the face: points of both, the teacher's weights, the clip's number."""
    detector = Detector(open_runner(model_path(models, "face_detector")))
    teacher = open_runner(model_path(models, BLENDSHAPE_MODEL))
    rows: dict[str, list[Any]] = {"own_px": [], "teacher_px": [], "labels": [], "clip": []}
    for number, clip in enumerate(clips):
        own = Reader(detector, LandmarkReader(open_runner(model_path(models, "face_landmarks"))))
        theirs = Reader(detector, LandmarkReader(open_runner(model_path(models, LANDMARK_MODEL)), LANDMARK_MODEL))
        for image in pictures(clip):
            points, taught = own.read(image), theirs.read(image)
            if points is None or taught is None:
                continue
            rows["own_px"].append(points)
            rows["teacher_px"].append(taught)
            rows["labels"].append(weights(teacher, taught))
            rows["clip"].append(number)
        print(f"{clip.name}: {rows['clip'].count(number)} pictures", flush=True)
    return {name: np.array(values, np.int64 if name == "clip" else np.float32) for name, values in rows.items()}


def weights(teacher: Runner, points_px: Float32) -> Float32:
    """The teacher's 52 weights in ARKit's order; tongueOut, which it lacks, is 0."""
    told = teacher({"points": points_px[None, POINTS, :2].astype(np.float32)})["blendshapes"][0]
    return np.append(told[1:], np.float32(0))


def pictures(clip: Path) -> Iterator[Image]:
    """The pictures of a clip, BGR."""
    video = cv2.VideoCapture(str(clip))
    while True:
        read, image = video.read()
        if not read:
            return
        yield np.asarray(image, np.uint8)


def main() -> None:
    """Gather and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("--ict", type=Path, required=True, help="the morphable face")
    parser.add_argument(
        "--models", type=Path, required=True, help="a folder of fetched models, the second set included"
    )
    parser.add_argument("clips", type=Path, nargs="+")
    arguments = parser.parse_args()
    np.savez_compressed(
        arguments.bank, allow_pickle=False, **morphable(arguments.ict), **filmed(arguments.models, arguments.clips)
    )


if __name__ == "__main__":
    main()

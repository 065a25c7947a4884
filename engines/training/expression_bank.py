"""Gather what the expression network is trained from: filmed people and the morphable face, as landmarks.

    python -m engines.training.expression_bank bank.npz --ict ict_light.npz --models DIR CLIP...

Every picture of every clip is read by our landmark network and by the teacher's, and labelled by the
teacher; the face is kept twice, as the network sees it and with room around it, to be bent and lit anew.
``--models`` is a folder filled by ``appliance models fetch --task face_landmarker.task``. The ICT-FaceKit
shapes (MIT, (c) 2020 USC Institute for Creative Technologies) are brought to our 478 points.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from appliance.face.canonical import canonical_face
from appliance.face.detector import Detector
from appliance.face.expression_network import PICTURE_PX, picture_matrix
from appliance.face.landmarks import LandmarkReader
from appliance.face.regions import matrix, region_from_detection, region_from_landmarks
from appliance.face.task_models import BLENDSHAPE_MODEL, LANDMARK_MODEL, POINTS
from appliance.values import Float32, Image, Landmarks, Region
from engines.fetch import model_path
from engines.opening import open_runner
from engines.runners import Runner
from engines.training.canonical_geometry import EYE_CENTRE_M

PRESENT = 0.5
SOURCE_PX, SOURCE_WIDER = (
    256,
    1.25,
)  # a face with room around it: its side, and how much wider than a landmark network's
SOURCE_QUALITY = 92  # as JPEG
SKIN = 9409  # the mesh's first vertices
_RINGS = (((468, 473), (33, 133, 159, 145)), ((473, 478), (263, 362, 386, 374)))  # an iris goes with its lids


_TYPES = {
    "own_px": np.float32,
    "teacher_px": np.float32,
    "labels": np.float32,
    "clip": np.int64,
    "pictures": np.uint8,
    "sources_px": np.float32,
}


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

    def forget(self) -> None:
        """Begin another clip."""
        self._region = None

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
    """Every picture in which both networks see the face.

    ``own_px`` and ``teacher_px`` n x 478 x 3, ``labels`` n x 52, ``clip`` n (its number), ``pictures``
    n x 96 x 96 x 3 (RGB) as the expression network sees them, ``sources`` n x 256 x 256 x 3 (RGB) as JPEG
    (``sources_jpeg`` bytes, ``sources_end`` where each ends), ``sources_px`` n x 478 x 2 their points.
    """
    detector = Detector(open_runner(model_path(models, "face_detector")))
    own = Reader(detector, LandmarkReader(open_runner(model_path(models, "face_landmarks"))))
    theirs = Reader(detector, LandmarkReader(open_runner(model_path(models, LANDMARK_MODEL)), LANDMARK_MODEL))
    teacher = open_runner(model_path(models, BLENDSHAPE_MODEL))
    rows: dict[str, list[Any]] = {name: [] for name in (*_TYPES, "sources")}
    for number, clip in enumerate(clips):
        read = list(_faces(pictures(clip), own, theirs)) or list(_faces(map(middle, pictures(clip)), own, theirs))
        for image, points, taught in read:
            rows["own_px"].append(points)
            rows["teacher_px"].append(taught)
            rows["labels"].append(weights(teacher, taught))
            rows["clip"].append(number)
            rows["pictures"].append(square(image, picture_matrix(points), PICTURE_PX))
            source, source_px = with_room(image, points)
            rows["sources"].append(cv2.imencode(".jpg", source, [cv2.IMWRITE_JPEG_QUALITY, SOURCE_QUALITY])[1])
            rows["sources_px"].append(source_px)
        print(f"{clip.name}: {len(read)} pictures", flush=True)
    sources = rows.pop("sources")
    return {name: np.array(values, _TYPES[name]) for name, values in rows.items()} | {
        "sources_jpeg": np.concatenate(sources),
        "sources_end": np.cumsum([len(source) for source in sources]),
    }


def _faces(images: Iterable[Image], own: Reader, theirs: Reader) -> Iterator[tuple[Image, Float32, Float32]]:
    """Pictures in which both networks see the face, with the points of both."""
    own.forget()
    theirs.forget()
    for image in images:
        points, taught = own.read(image), theirs.read(image)
        if points is not None and taught is not None:
            yield image, points, taught


def middle(image: Image) -> Image:
    """The middle of a picture, half as wide, enlarged: for people who stand too far away for the detector."""
    height, width = image.shape[:2]
    inner = image[: 3 * height // 4, width // 4 : -width // 4]
    return np.asarray(cv2.resize(inner, None, fx=2, fy=2), np.uint8)


def square(image: Image, square_to_picture: npt.NDArray[np.float64], size_px: int) -> Image:
    """Cut a square from a picture, in RGB."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(image, square_to_picture, (size_px, size_px), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut[..., ::-1], np.uint8)


def with_room(image: Image, points_px: Float32) -> tuple[Image, Float32]:
    """The face of a picture (BGR) in a square of 256 pixels with room around it, and its points there."""
    region = region_from_landmarks(Landmarks(points_px, 1.0))
    wide = matrix(replace(region, size_px=SOURCE_WIDER * region.size_px), SOURCE_PX)
    source_px = (points_px[:, :2] - wide[:, 2]) @ np.linalg.inv(wide[:, :2]).T
    return square(image, wide, SOURCE_PX)[..., ::-1], source_px.astype(np.float32)


def sources(bank: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """Every picture with room around the face, n x 256 x 256 x 3, RGB."""
    coded = np.split(bank["sources_jpeg"], bank["sources_end"][:-1])
    return np.stack([np.asarray(cv2.imdecode(one, cv2.IMREAD_COLOR), np.uint8)[..., ::-1] for one in coded])


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

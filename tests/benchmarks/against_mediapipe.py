"""Holds our crop and landmark stage against MediaPipe's FaceMesh with refinement: accuracy and CPU time.

    python tests/benchmarks/against_mediapipe.py --mediapipe-python PATH --models DIRECTORY CLIP...

PATH is the interpreter of an environment with mediapipe 0.10.21 (Python 3.11). Both sides see the same frames in
video mode, one face, a few frames at a time in turn, so that whatever else the machine does costs both alike. CPU
time is the whole process's, all threads, without decoding. A frame counts for time where both track, and for
accuracy where both found a face. The difference is the mean distance of the 478 points in the picture over the
distance between the irises.
"""

import argparse
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from appliance.face.detector import Detector
from appliance.face.landmarks import LandmarkReader
from appliance.face.regions import region_from_detection, region_from_landmarks
from appliance.values import Image, Region
from engines.fetch import model_path
from engines.opening import open_runner

PEER = Path(__file__).with_name("mediapipe_peer.py")
CHUNK_FRAMES = 10
FRAME_NUMBERS = 1 + 478 * 3  # in the peer's answer: CPU seconds, then the points
MIN_PRESENCE = 0.5
MIDDLE_OF_IRISES = (468, 473)
Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class Ours:
    """Our detector and landmark reader, following one face as MediaPipe does."""

    detector: Detector
    reader: LandmarkReader
    region: Region | None = None

    def process(self, image: Image) -> tuple[Floats, float, bool]:
        """The landmarks (NaN without a face), the CPU seconds, and whether the face was already held."""
        begun = time.process_time()
        held = self.region is not None
        if self.region is None:
            faces = self.detector.find(image)
            self.region = region_from_detection(faces[0]) if faces else None
        points = np.full((478, 3), np.nan)
        if self.region is not None:
            (landmarks,) = self.reader.read([(image, self.region)])
            self.region = region_from_landmarks(landmarks) if landmarks.presence > MIN_PRESENCE else None
            if self.region is not None:
                points = landmarks.points_px.astype(np.float64)
        return points, time.process_time() - begun, held and self.region is not None


@dataclass(slots=True)
class Outcome:
    """What one clip showed; ``ours`` and ``peers`` are CPU milliseconds of the frames where both track."""

    differences_percent: list[float] = field(default_factory=list)
    ours_ms: list[float] = field(default_factory=list)
    peers_ms: list[float] = field(default_factory=list)
    disagreements: int = 0  # frames where one found a face and the other did not

    def add(self, other: "Outcome") -> None:
        self.differences_percent += other.differences_percent
        self.ours_ms += other.ours_ms
        self.peers_ms += other.peers_ms
        self.disagreements += other.disagreements


def compare(clip: Path, ours: Ours, python: Path) -> Outcome:
    """Run both over one clip, in turn."""
    images = frames(clip)
    outcome = Outcome()
    command = [python, PEER, clip]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        for start in range(0, len(images), CHUNK_FRAMES):
            chunk = images[start : start + CHUNK_FRAMES]
            peer.stdin.write(f"{len(chunk)}\n".encode())
            peer.stdin.flush()
            answer = peer.stdout.read(len(chunk) * FRAME_NUMBERS * 8)
            for image, numbers in zip(chunk, np.frombuffer(answer).reshape(-1, FRAME_NUMBERS), strict=True):
                note(outcome, ours.process(image), numbers[1:].reshape(478, 3), float(numbers[0]))
        peer.stdin.close()
    return outcome


def note(outcome: Outcome, result: tuple[Floats, float, bool], peer_points: Floats, peer_s: float) -> None:
    """Add one frame to the outcome."""
    points, our_s, held = result
    found, peer_found = not np.isnan(points[0, 0]), not np.isnan(peer_points[0, 0])
    outcome.disagreements += found != peer_found
    if found and peer_found:
        first, second = peer_points[list(MIDDLE_OF_IRISES), :2]
        distance = np.linalg.norm(points[:, :2] - peer_points[:, :2], axis=1).mean()
        outcome.differences_percent.append(100 * float(distance / np.linalg.norm(first - second)))
    if held and peer_found:
        outcome.ours_ms.append(our_s * 1e3)
        outcome.peers_ms.append(peer_s * 1e3)


def frames(clip: Path) -> list[Image]:
    capture = cv2.VideoCapture(str(clip))
    images: list[Image] = []
    while True:
        present, image = capture.read()
        if not present:
            return images
        images.append(image.astype(np.uint8, copy=False))


def row(name: str, outcome: Outcome) -> tuple[str, ...]:
    if not outcome.differences_percent or not outcome.ours_ms:
        return (name, "0", "", "", "", "", "", str(outcome.disagreements))
    differences = np.array(outcome.differences_percent)
    ours_ms, peers_ms = np.median(outcome.ours_ms), np.median(outcome.peers_ms)
    return (
        name,
        str(len(differences)),
        f"{differences.mean():.3f}",
        f"{np.percentile(differences, 95):.3f}",
        f"{ours_ms:.3f}",
        f"{peers_ms:.3f}",
        f"{ours_ms / peers_ms:.2f}",
        str(outcome.disagreements),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mediapipe-python", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True, help="a folder that appliance models fetch filled")
    parser.add_argument("--runner", default="auto")
    parser.add_argument("clips", type=Path, nargs="+")
    parsed = parser.parse_args(arguments)
    detector = Detector(open_runner(model_path(parsed.models, "face_detector"), parsed.runner))
    reader = LandmarkReader(open_runner(model_path(parsed.models, "face_landmarks"), parsed.runner))
    table = Table("clip", "frames", "mean %", "p95 %", "ours ms", "MediaPipe ms", "ratio", "disagreements")
    total = Outcome()
    for clip in parsed.clips:
        outcome = compare(clip, Ours(detector, reader), parsed.mediapipe_python)
        total.add(outcome)
        table.add_row(*row(clip.stem, outcome))
    table.add_row(*row("all", total))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()

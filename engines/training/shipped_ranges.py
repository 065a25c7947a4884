"""The ranges that ship with the networks, so that a fresh device builds INT8 before anybody has filmed.

    python -m engines.training.shipped_ranges --clips DIR --renders FILE --faces FILE
    python -m engines.training.shipped_ranges --model viseme

takes the clips for training (see README.md, which names them), pictures of drawn people (``p`` of an npz: n x size x
size x 3, RGB) and drawn faces as ``engines.training.render_bank`` writes them, and lets espeak-ng speak; shows all of
it to the appliance's own stages; and writes ``ranges.json`` beside each manifest, with a few drawn or synthetic inputs
to verify engines on (``held_out.npz``): numbers and drawings, nobody's picture. One clip in four, one of twenty
drawings in four and one voice in four give no range; what INT8 costs on those is printed. Run it again when a network
was trained again; the viseme network needs no pictures. ``--methods`` tries every method, for the manifests.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from appliance.calibrating import NAMES, STRETCH_CALLS
from appliance.face import regions
from appliance.face.detector import Detector
from appliance.face.expression_network import OWN_MODEL, Look, NetworkExpressionReader, own_network, upright
from appliance.face.landmarks import LandmarkReader
from appliance.listening.recordings import wav_blocks
from appliance.listening.viseme_network import MODEL as VISEME_MODEL
from appliance.listening.viseme_network import VisemeNetwork
from appliance.settings import DESK_DIRECTORY
from appliance.values import Float32, Image
from calibration.activations import in_eight_bits, in_float, ranges_of, spreads
from calibration.folder import CalibrationFolder
from calibration.keeping import joined
from calibration.methods import method_of, wants_ranges
from calibration.report import Report, compare, report
from calibration.walking import calls
from engines.keys import HELD_OUT_FILE, RANGES_FILE
from engines.manifest import MODELS
from engines.networks import Network, network
from engines.opening import open_runner
from engines.own import own_model
from engines.ranges import METHODS, write_ranges
from engines.runners import Runner, Tensors

PICTURES_OF_A_CLIP = 16
DRAWN_PICTURES, DRAWN_FACES = 160, 400
BLOCK = 20  # drawn pictures or faces that are held out together
SHIPPED_INPUTS = 8
CLIPS, DRAWN = 1, 2  # what is filmed, what is drawn or spoken by a machine: numbers of recordings

_VOICES = ("en-us", "en-gb+f3", "en-us+m3", "en-gb-scotland+f2", "de+f1", "en-us+m7", "fr+m2", "en-us+f4")
_LINES = (
    "Please put the brown paper box beside the big blue door before five.",
    "She sells fresh fish; he thinks the weather is very nice this month.",
    "You should choose which of these three young kings of Peru to follow.",
    "Oh, wow, how beautiful the moon looks over the water of the lake tonight!",
    "Good morning, may I ask where you are going with all those oranges and plums?",
    "Judge Murphy gave each child a yellow thread and a measure of good rope.",
)
_NOISE = (0.0, 0.003, 0.01)  # beside a voice of about 0.1


class Shown:
    """A runner that remembers what it was shown."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.samples: list[Tensors] = []

    def __call__(self, inputs: Tensors) -> Tensors:
        """Run, and remember the one sample of the batch."""
        self.samples.append({name: np.array(values[0], np.float32) for name, values in inputs.items()})
        return self._runner(inputs)

    def take(self) -> list[Tensors]:
        """What it was shown since the last time."""
        taken, self.samples = self.samples, []
        return taken


class Stages:
    """The appliance's face stages, one picture at a time."""

    def __init__(self, models: Path) -> None:
        names = ("face_detector", "face_landmarks", OWN_MODEL)
        self.shown = {name: Shown(open_runner(network(name, models).onnx)) for name in names}
        self._detector = Detector(self.shown["face_detector"])
        self._landmarks = LandmarkReader(self.shown["face_landmarks"])
        own = own_network(own_model(OWN_MODEL).inputs)
        self._expressions = NetworkExpressionReader(self.shown[OWN_MODEL], own)

    def look(self, image: Image) -> None:
        """Show the networks one picture; where no face is found, they forget it."""
        found = self._detector.find(image)
        first = self._landmarks.read([(image, regions.region_from_detection(found[0]))]) if found else []
        if not first or first[0].presence < 0.5:
            for shown in self.shown.values():
                shown.samples = shown.samples[: -1 if shown is self.shown["face_detector"] else None]
            return
        self.shown["face_landmarks"].samples.pop()  # a face that is held is seen through its own landmarks' square
        landmarks = self._landmarks.read([(image, regions.region_from_landmarks(first[0]))])[0]
        self._expressions.read_all([Look(landmarks.points_px, image, 65.0)])


def film(folder: CalibrationFolder, stages: Stages, pictures: Iterator[tuple[int, Image]], recording: int) -> None:
    """Keep what the stages were shown, block by block."""
    block = 0

    def keep() -> None:
        for name, shown in stages.shown.items():
            if samples := shown.take():
                stacked = {port: np.stack([sample[port] for sample in samples]) for port in samples[0]}
                folder.write(name, recording, block, "stages", stacked)

    for of_block, image in pictures:
        if of_block != block:
            keep()
            block = of_block
        stages.look(image)
    keep()


def clips(folder: Path) -> Iterator[tuple[int, Image]]:
    """Pictures spread over every clip; a clip is a block."""
    for block, path in enumerate(sorted(folder.glob("*.mkv"))):
        film_ = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        frames: list[Image] = []
        while (read := film_.read())[0]:
            frames.append(np.asarray(read[1], np.uint8))
        film_.release()
        for index in np.unique(np.linspace(0, len(frames) - 1, PICTURES_OF_A_CLIP).astype(int)):
            yield block, frames[index]


def renders(path: Path) -> Iterator[tuple[int, Image]]:
    """Pictures of drawn people."""
    with np.load(path, allow_pickle=False) as stored:
        drawn = stored["p"][:DRAWN_PICTURES]
    for index, picture in enumerate(drawn):
        yield index // BLOCK, np.ascontiguousarray(picture[..., ::-1])


def drawn_faces(folder: CalibrationFolder, path: Path) -> None:
    """Keep drawn faces as the expression network sees them."""
    with np.load(path, allow_pickle=False) as stored:
        ends, content, points_px = stored["pictures_end"], stored["pictures_jpeg"], stored["own_px"]
    starts = np.concatenate([[0], ends[:-1]])
    chosen = np.linspace(0, len(ends) - 1, DRAWN_FACES).astype(int)
    for block, rows in enumerate(np.split(chosen, range(BLOCK, len(chosen), BLOCK))):
        pictures = [cv2.imdecode(content[starts[row] : ends[row]], cv2.IMREAD_COLOR) for row in rows]
        planes = [np.asarray(picture)[..., ::-1].transpose(2, 0, 1).astype(np.float32) / 255 for picture in pictures]
        landmarks = [upright(points_px[row]) for row in rows]
        folder.write(OWN_MODEL, DRAWN, block, "faces", {"landmarks": np.stack(landmarks), "picture": np.stack(planes)})


def speech(folder: CalibrationFolder, models: Path) -> None:
    """Keep what synthetic voices sound like to the viseme network; a voice is a block."""
    shown = Shown(open_runner(network(VISEME_MODEL, models).onnx))
    heard = VisemeNetwork(shown, own_model(VISEME_MODEL).inputs)
    chance = np.random.default_rng(1)
    for block, voice in enumerate(_VOICES):
        stretches: list[Tensors] = []
        for line, text in enumerate(_LINES):
            heard.forget()
            for samples in _spoken(text, voice):
                noise = chance.normal(0, _NOISE[(block + line) % len(_NOISE)], len(samples))
                heard.name((samples + noise).astype(np.float32))
            steps = shown.take()
            starts = range(0, len(steps) - STRETCH_CALLS + 1, STRETCH_CALLS)
            stretches += [joined(steps[start : start + STRETCH_CALLS]) for start in starts]
        stacked = {port: np.stack([stretch[port] for stretch in stretches]) for port in stretches[0]}
        folder.write(VISEME_MODEL, DRAWN, block, "voices", stacked)


def _spoken(text: str, voice: str) -> list[Float32]:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["espeak-ng", "-v", voice, "-w", file.name, text], check=True)
        return list(wav_blocks(Path(file.name)))


def ship(each: Network, folder: CalibrationFolder, methods: Sequence[str]) -> Iterator[Report]:
    """Write a network's ranges by its manifest's method, and inputs to verify on; yield what each method costs."""
    found, count = spreads(each, folder.blocks(each.name, held_out=False))
    for method in methods:
        ranges = ranges_of(each, found, method, count)
        held_out = folder.blocks(each.name, held_out=True)
        true, told = compare(in_float(each), in_eight_bits(each, ranges), held_out)
        yield report(each.name, method, true, told, each.tolerance, NAMES.get(each.name, {}))
        if method == method_of(each.name):
            write_ranges(ranges, MODELS / each.name / RANGES_FILE)
    shipped = calls(in_float(each), folder.blocks(each.name, True, DRAWN), SHIPPED_INPUTS)
    arrays: dict[str, Any] = dict(shipped)
    np.savez_compressed(MODELS / each.name / HELD_OUT_FILE, **arrays)


def main() -> None:
    """Write ranges and print what INT8 costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--renders", type=Path)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--storage", type=Path, default=Path(DESK_DIRECTORY).expanduser(), help="where models lie")
    parser.add_argument("--methods", action="store_true", help="try every method")
    parser.add_argument("--model", action="append", help="this network alone (repeatable)")
    arguments = parser.parse_args()
    models = arguments.storage / "models"
    with tempfile.TemporaryDirectory() as scratch:
        folder = CalibrationFolder(Path(scratch) / "calibration")
        if arguments.model != [VISEME_MODEL]:
            if not (arguments.clips and arguments.renders and arguments.faces):
                parser.error("the networks of the face need --clips, --renders and --faces")
            stages = Stages(models)
            film(folder, stages, clips(arguments.clips), CLIPS)
            film(folder, stages, renders(arguments.renders), DRAWN)
            drawn_faces(folder, arguments.faces)
        if not arguments.model or VISEME_MODEL in arguments.model:
            speech(folder, models)
        print(folder.counts(), flush=True)
        for name in filter(wants_ranges, arguments.model or folder.networks()):
            for one in ship(network(name, models), folder, METHODS if arguments.methods else (method_of(name),)):
                for row in one.rows:
                    limit = f"{'<=' if row.at_most else '>='} {row.limit:g}"
                    verdict = "" if row.holds else "  MISSES"
                    print(
                        f"{name} {one.method} {row.output} {row.measure}: {row.value:.4f} {limit}{verdict}", flush=True
                    )


if __name__ == "__main__":
    main()

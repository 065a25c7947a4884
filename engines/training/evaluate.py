"""Hold the expression network against its teacher, and both against the truth.

    python -m engines.training.evaluate CLIP_BANK RENDER_BANK --models DIR [--calibration BANK] [--each] [--json]

CLIP_BANK is what ``engines.training.expression_bank`` wrote of clips that no training used: filmed people, and what
the whole teacher says of them. RENDER_BANK is what ``engines.training.render_bank`` wrote of drawn people that no
training used. DIR holds both model sets (``appliance models fetch --task``). ``--calibration`` is a bank of the clips
for training, for the ranges of INT8. The peer is the teacher: its own network on our landmarks where the whole teacher
is the truth, else all of it.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from appliance import settings
from appliance.avatar.channels import BLENDSHAPES
from appliance.face.expression_network import OWN_MODEL, PICTURE_PX, ExpressionNetwork, own_network, take_picture
from appliance.face.landmarks import MODEL, LandmarkReader
from appliance.face.task_models import BLENDSHAPE_MODEL, LANDMARK_MODEL, TASK
from appliance.values import Float32, Image
from engines.fetch import model_path
from engines.opening import open_runner
from engines.own import own_model, own_model_path
from engines.runners import Runner
from engines.training import evaluate_agreement as agree
from engines.training import evaluate_motion as motion
from engines.training import evaluate_network as network_alone

WIDE = 110  # letters of a line
Bank = Mapping[str, Any]
Columns = tuple[Float32, ...]
"""Ours, and the peer's where there is one: 52 each, NaN where nothing is to be said."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    name: str
    ours: float
    peer: float | None = None
    goal: str = ""
    digits: int = 3


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of the evaluation found."""

    figures: list[Figure]
    shapes: dict[str, Columns]


class Networks:
    """What reads faces, ours and the teacher's."""

    def __init__(self, models: Path) -> None:
        self.own: Runner = open_runner(own_model_path(OWN_MODEL))
        self.network: ExpressionNetwork = own_network(own_model(OWN_MODEL).inputs)
        self.teacher: Runner = open_runner(model_path(models, BLENDSHAPE_MODEL))
        self.own_points = LandmarkReader(open_runner(model_path(models, MODEL)))
        self.teacher_points = LandmarkReader(open_runner(model_path(models, LANDMARK_MODEL)), LANDMARK_MODEL)


def on_clips(bank: Bank, networks: Networks, options: settings.Avatar) -> Part:
    """Agreement with the teacher, silence at rest, blinks and lag, on filmed people."""
    points_px, labels, clip = bank["own_px"], bank["labels"], bank["clip"]
    told = agree.tell(networks.own, networks.network, points_px, bank.get("pictures"))
    theirs = agree.tell(networks.teacher, TASK, points_px)
    ours, peer = agree.agreement(told, labels), agree.agreement(theirs, labels)
    scaled = agree.at_arkits_scale(told, networks.network)
    smoothed, raw = motion.in_clips(scaled, points_px, clip, options)
    late, rest, dead = motion.lags(smoothed, raw, clip), agree.at_rest(labels), agree.never_fired()
    fires = f"{len(ours.shapes)} shapes that the teacher fires"
    figures = [
        Figure(f"correlation with the teacher, {fires}", *_means(ours.correlation, peer.correlation), "at least 0.86"),
        Figure("mean absolute error", *_means(ours.error, peer.error), "at most 0.036", 4),
        Figure(
            f"shapes the teacher never fires: the highest mean of {rest.sum()} faces at rest",
            float(scaled[rest][:, dead].mean(0).max(initial=0)),
            float(theirs[rest][:, dead].mean(0).max(initial=0)),
            "under 0.05",
        ),
        *_blinks(smoothed, theirs, labels, clip),
        Figure("lag in pictures at 30 a second, mean of shapes that move", float(np.nanmean(late)), 0, "at most 1", 2),
        Figure("largest lag of one", float(np.nanmax(late)), 0, "", 2),
    ]
    columns = {
        "clips": (ours.correlation, peer.correlation),
        "error": (ours.error, peer.error),
        "at rest": (scaled[rest].mean(0), theirs[rest].mean(0)),
        "lag": (late,),
    }
    return Part(figures, columns)


def _blinks(shown: Float32, theirs: Float32, labels: Float32, clip: Any) -> list[Figure]:
    true = motion.blinks(labels, clip)
    found, of_peer = (motion.seen(true, weights, clip) / max(len(true), 1) for weights in (shown, theirs))
    told = [motion.blinks(weights, clip) for weights in (shown, theirs)]
    false, of_peer_false = (len(peaks) - motion.seen(peaks, labels, clip) for peaks in told)
    return [
        Figure(f"blinks found of {len(true)}, within 2 pictures", found, of_peer),
        Figure("false blinks", false, of_peer_false, digits=0),
    ]


def on_renders(bank: Bank, networks: Networks) -> Part:
    """Agreement with the truth, on drawn people."""
    truth = bank["truth"]
    pictures = np.stack([stored(bank, "pictures", index)[..., ::-1] for index in range(len(truth))])
    told = agree.tell(networks.own, networks.network, bank["own_px"], pictures)
    ours = agree.agreement(agree.at_arkits_scale(told, networks.network), truth)
    peer = agree.agreement(bank["teacher"], truth)
    dead = agree.never_fired()
    others = np.setdiff1d(ours.shapes, dead)
    better = ours.correlation[others] >= peer.correlation[others]
    figures = [
        Figure(f"correlation with the truth, {len(truth)} drawn faces", *_means(ours.correlation, peer.correlation)),
        Figure("mean absolute error there", *_means(ours.error, peer.error)),
        *(
            Figure(
                f"  {BLENDSHAPES[shape]}",
                float(ours.correlation[shape]),
                float(peer.correlation[shape]),
                "at least 0.6",
            )
            for shape in dead
        ),
        Figure(f"of the other {len(others)} shapes, at least as good as the teacher", better.sum(), None, "all", 0),
    ]
    return Part(figures, {"drawn": (ours.correlation, peer.correlation)})


def on_stills(bank: Bank, networks: Networks, options: settings.Avatar) -> Part:
    """How still a still face is: real pictures, each with another noise and shift again and again."""
    rng = np.random.default_rng(1)
    chosen = motion.stills(bank["clip"])
    unrest: list[tuple[Float32, Float32]] = []
    for index in chosen:
        pictures = list(motion.shaken(stored(bank, "sources", index), rng))
        start = np.pad(bank["sources_px"][index], ((0, 0), (0, 1)))
        points_px = motion.follow(networks.own_points, pictures, start)
        seen = np.stack([face_picture(picture, points) for picture, points in zip(pictures, points_px, strict=True)])
        told = agree.at_arkits_scale(agree.tell(networks.own, networks.network, points_px, seen), networks.network)
        theirs = agree.tell(networks.teacher, TASK, motion.follow(networks.teacher_points, pictures, start))
        unrest.append((motion.unrest(motion.published(told, points_px, options)), motion.unrest(theirs)))
    ours, peer = (np.mean(each, axis=0) for each in zip(*unrest, strict=True))
    fired = np.setdiff1d(np.arange(len(BLENDSHAPES)), agree.never_fired())
    one, other = float(ours[fired].mean()), float(peer[fired].mean())
    figures = [
        Figure(f"standard deviation of {len(chosen)} still faces, mean of the teacher's shapes", one, other, "", 4),
        Figure("ratio to the teacher's, which is not smoothed", one / other, 1, "at most 0.5", 2),
        Figure("the same with the shapes that it never fires", float(ours.mean() / peer.mean()), 1, "", 2),
    ]
    return Part(figures, {"still": (ours, peer)})


def stored(bank: Bank, name: str, index: int) -> Image:
    """One of a bank's JPEG pictures, BGR."""
    end = bank[f"{name}_end"]
    coded = bank[f"{name}_jpeg"][end[index - 1] if index else 0 : end[index]]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def face_picture(picture: Image, points_px: Float32) -> Image:
    """The square picture of a face, 96 x 96 x 3, RGB, of a whole one, BGR."""
    planes = np.zeros((3, PICTURE_PX, PICTURE_PX), np.float32)
    take_picture(picture, points_px, planes)
    return np.rint(planes.transpose(1, 2, 0) * 255).astype(np.uint8)


def alone(bank: Bank, calibration: Bank | None, networks: Networks) -> Part:
    """INT8 and time."""
    path, kept = own_model_path(OWN_MODEL), own_model(OWN_MODEL).keep_fp16
    figures = []
    if calibration is not None:
        inputs, ranges = (
            agree.shown(networks.network, one["own_px"], one.get("pictures")) for one in (bank, calibration)
        )
        reached = network_alone.int8_agreement(network_alone.plain(path), ranges, inputs, kept.nodes if kept else ())
        name = f"INT8 against FP32{', 16 bits in ' + ', '.join(kept.nodes) if kept else ''}"
        figures.append(Figure(name, reached, None, "at least 0.99", 4))
    one_ms, eight_ms = (network_alone.call_ms(path, faces) for faces in (1, 8))
    figures += [
        Figure("ms a face, one core", one_ms, None, "at most 1.5", 2),
        Figure("eight faces in a batch, times one", eight_ms / one_ms, None, "at most 4", 1),
    ]
    return Part(figures, {})


def _means(ours: Float32, peer: Float32) -> tuple[float, float]:
    return float(np.nanmean(ours)), float(np.nanmean(peer))


def main() -> None:
    """Print the tables."""
    arguments = _arguments()
    networks, options = Networks(arguments.models), settings.Avatar()
    clips, renders = _bank(arguments.clips), _bank(arguments.renders)
    calibration = _bank(arguments.calibration) if arguments.calibration else None
    parts = [
        on_clips(clips, networks, options),
        on_renders(renders, networks),
        on_stills(clips, networks, options),
        alone(clips, calibration, networks),
    ]
    figures = [figure for part in parts for figure in part.figures]
    shapes = {name: column for part in parts for name, column in part.shapes.items()}
    if arguments.json:
        print(json.dumps({"figures": [_row(figure) for figure in figures], "shapes": _by_shape(shapes)}, indent=1))
        return
    console = Console(width=WIDE)
    console.print(_table(figures, f"{len(clips['clip'])} pictures of {len(np.unique(clips['clip']))} clips"))
    if arguments.each:
        console.print(_each(shapes))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, metavar="CLIP_BANK")
    parser.add_argument("renders", type=Path, metavar="RENDER_BANK")
    parser.add_argument("--models", type=Path, required=True, metavar="DIR")
    parser.add_argument("--calibration", type=Path, metavar="BANK", help="clips for training; without, no INT8")
    parser.add_argument("--each", action="store_true", help="a row a shape as well")
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    return parser.parse_args()


def _bank(path: Path) -> Bank:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _row(figure: Figure) -> dict[str, Any]:
    return {"name": figure.name.strip(), "ours": float(figure.ours), "peer": figure.peer, "goal": figure.goal}


def _by_shape(shapes: Mapping[str, Columns]) -> dict[str, dict[str, list[float | None]]]:
    return {
        name: {
            title: [float(column[index]) if np.isfinite(column[index]) else None for column in columns]
            for title, columns in shapes.items()
        }
        for index, name in enumerate(BLENDSHAPES)
    }


def _table(figures: list[Figure], title: str) -> Table:
    table = Table("", "ours", "the teacher", "goal", title=title)
    for figure in figures:
        peer = "" if figure.peer is None else f"{figure.peer:.{figure.digits}f}"
        table.add_row(figure.name, f"{figure.ours:.{figure.digits}f}", peer, figure.goal)
    return table


def _each(shapes: Mapping[str, Columns]) -> Table:
    table = Table("ours, the teacher's", *shapes, box=None)
    for index, name in enumerate(BLENDSHAPES):
        figures = [[column[index] for column in columns if np.isfinite(column[index])] for columns in shapes.values()]
        table.add_row(name, *(" ".join(f"{figure:.3f}" for figure in cell) for cell in figures))
    return table


if __name__ == "__main__":
    main()

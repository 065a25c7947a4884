"""Draw people whose weights are known, as landmark networks find them: for training, and for evaluation on unseen ones.

    python -m engines.training.render_bank unseen.npz --ict ict_light.npz --models DIR [--people 500] [--each 4]

Writes ``pictures_jpeg`` and ``pictures_end`` (96 pixels, RGB, as the expression network sees them), ``own_px``
n x 478 x 3, ``truth`` n x 52, ``teacher`` n x 52 (the whole teacher on the same picture), ``identity`` n and
``rotation`` n x 3 x 3.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from appliance.avatar.channels import BLENDSHAPES
from appliance.face.expression_network import PICTURE_PX
from engines.training.expression_bank import SOURCE_PX
from engines.training.expression_samples import upright
from engines.training.pictures import (
    Networks,
    cut,
    find_points,
    picture_squares,
    rough_squares,
    squares_around,
)
from engines.training.renders import OVERSAMPLED, FaceRenderer
from engines.training.renders_scenes import Scenes, sample_scenes

BATCH = 128
UNSEEN_SEED = 20_000  # training draws from seeds below
QUALITY = 95  # as JPEG


@dataclass(frozen=True)
class Drawn:
    """Drawn people in whom our landmark network saw a face."""

    pictures: Tensor  # n x 3 x 256 x 256, 8 bits, RGB
    points_px: Tensor  # n x 478 x 3, of our landmark network
    truth: Tensor  # n x 52
    identity: npt.NDArray[np.int64]  # n
    rotation: npt.NDArray[np.float32]  # n x 3 x 3, as in the scenes


class _Sampling(IterableDataset[Scenes]):
    """Scenes without end, a batch at a time, ``each`` of every person."""

    def __init__(self, each: int, seed: int) -> None:
        self._each, self._seed = each, seed

    def __iter__(self) -> Iterator[Scenes]:
        random = np.random.default_rng(self._seed)
        while True:
            identities = np.repeat(random.integers(0, 2**31, BATCH // self._each), self._each)
            yield sample_scenes(len(identities), SOURCE_PX, BLENDSHAPES, random, identities)


def drawing(ict: Path, networks: Networks, device: str, each: int, seed: int, many: bool = False) -> Iterator[Drawn]:
    """Draw new people without end, a batch at a time, ``each`` pictures of every one; other ones for every seed.

    Who wants ``many`` waits a minute for the first and gets all others sooner, without oversampling. What to draw is
    made up ahead by a process of its own: that takes as long as drawing it.
    """
    renderer = FaceRenderer(ict, device, BLENDSHAPES, SOURCE_PX, 1 if many else OVERSAMPLED, many)
    sampling = DataLoader(
        _Sampling(each, seed), batch_size=None, num_workers=1, prefetch_factor=4, multiprocessing_context="spawn"
    )
    for scenes in sampling:
        pictures, known = renderer.render_tensor(scenes)
        shown = pictures.permute(0, 3, 1, 2).contiguous()
        rough = rough_squares(torch.from_numpy(known.landmarks[..., :2]).to(device))
        points, seen = find_points(shown, rough, networks)
        kept = seen.cpu().numpy()
        truth = torch.from_numpy(scenes.weights).to(device)
        yield Drawn(shown[seen], points[seen], truth[seen], scenes.identity[kept], scenes.rotation[kept])


def draw(people: Iterator[Drawn], count: int) -> Drawn:
    """At least so many pictures of them."""
    parts, drawn = list[Drawn](), 0
    while drawn < count:
        parts.append(next(people))
        drawn += len(parts[-1].pictures)
        if len(parts) % 40 == 1:
            print(f"drawn {drawn} of {count}", flush=True)
    return Drawn(
        pictures=torch.cat([part.pictures for part in parts]),
        points_px=torch.cat([part.points_px for part in parts]),
        truth=torch.cat([part.truth for part in parts]),
        identity=np.concatenate([part.identity for part in parts]),
        rotation=np.concatenate([part.rotation for part in parts]),
    )


def taught(drawn: Drawn, networks: Networks) -> Tensor:
    """What the whole teacher says of each, n x 52."""
    told = []
    for first in range(0, len(drawn.pictures), BATCH):
        some = slice(first, first + BATCH)
        points = networks.teacher_points(drawn.pictures[some].float() / 255, squares_around(drawn.points_px[some]))
        told.append(networks.teacher(upright(points)))
    return torch.cat(told)


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("--ict", type=Path, required=True, help="the morphable face")
    parser.add_argument("--models", type=Path, required=True, help="fetched models, the second set included")
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--each", type=int, default=4)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.inference_mode():
        networks = Networks(arguments.models, device)
        people = drawing(arguments.ict, networks, device, arguments.each, UNSEEN_SEED)
        drawn = draw(people, arguments.people * arguments.each)
        shown = cut(drawn.pictures.float() / 255, picture_squares(drawn.points_px), PICTURE_PX)
        labels = taught(drawn, networks).cpu().numpy()
    squares = (255 * shown.permute(0, 2, 3, 1)).round().byte().cpu().numpy()
    coded = [cv2.imencode(".jpg", square[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1] for square in squares]
    np.savez_compressed(
        arguments.bank,
        pictures_jpeg=np.concatenate(coded),
        pictures_end=np.cumsum([len(one) for one in coded]),
        own_px=drawn.points_px.cpu().numpy(),
        truth=drawn.truth.cpu().numpy(),
        teacher=labels,
        identity=drawn.identity,
        rotation=drawn.rotation,
    )


if __name__ == "__main__":
    main()

"""Train the expression network: landmarks and a picture of the face in, 52 ARKit weights out.

    python -m engines.training.expression BANK model.onnx --ict ict_light.npz --models DIR [--minutes 15]

BANK is what ``engines.training.expression_bank`` wrote; DIR holds the second model set (``appliance models fetch
--task``). Draws its own people first. Made for a data-centre GPU.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from appliance.avatar.channels import BLENDSHAPES
from appliance.face.expression_network import PICTURE_PX, UNTAUGHT
from engines.training.deformations import Deformations
from engines.training.expression_bank import sources
from engines.training.expression_network import Student, export
from engines.training.expression_samples import Faces, upright
from engines.training.graph import Graph
from engines.training.pictures import (
    Networks,
    Pictures,
    Reservoir,
    Samples,
    Stream,
    cut,
    find_points,
    picture_squares,
    restyled,
    squares_around,
)
from engines.training.render_bank import UNSEEN_SEED, Drawn, draw, drawing, taught
from engines.training.teacher import Teacher

MESHES, SHOWN = 3072, 1024  # faces of a step: without pictures, and with
FRESH, FRESH_EVERY, KEPT = 384, 4, 600_000  # pictures of each kind: made anew, every how many steps, and kept
GAP = 0.3  # how much of the two landmark networks' difference the student trains through, where it sees no picture
TRUTH, TRUTH_UNKNOWN = 0.2, 0.5  # of the goal on drawn faces: always, and more the less the teacher knows of a shape
STILL = 0.3  # a face with no taught weight above this, eyes aside, is taken to show no untaught shape either
RATE, DECAY = 2e-3, 1e-2
TRUTH_WEIGHT, UNTAUGHT_WEIGHT = 20.0, 60.0  # of squared errors beside absolute ones
BESIDE_COMMITTEE = 0.5  # how much teacher and truth count beside a committee
COMMITTEE_WEIGHT = 8.0  # of what a committee says of untaught shapes
FIRES = 0.02  # a shape whose teacher varies less than this on a set is not scored on it


def _indices(names: tuple[str, ...]) -> list[int]:
    return [BLENDSHAPES.index(name) for name in names]


class Goal:
    """What the student is to say, and how much each word counts.

    ``spread`` is how far each of 52 labels varies, ``knowledge`` how well the teacher knows each shape on drawn faces,
    as correlation with the truth.
    """

    def __init__(self, spread: Tensor, knowledge: Tensor) -> None:
        untaught = torch.zeros(len(BLENDSHAPES), dtype=torch.bool, device=spread.device)
        untaught[_indices(UNTAUGHT)] = True
        eyes = [index for index, name in enumerate(BLENDSHAPES) if name.startswith(("eyeLook", "eyeBlink"))]
        self._untaught = untaught
        self._of_face = ~untaught
        self._of_face[eyes] = False
        self._weight = 1 / (spread + 0.03) * ~untaught  # a shape that seldom fires counts as much
        self._truth = TRUTH + TRUTH_UNKNOWN * (1 - knowledge.nan_to_num().clamp(min=0))

    def of_landmarks(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss on landmarks alone: the teacher's word on what it knows."""
        return ((logits.sigmoid() - labels).abs() * self._weight).mean()

    def of_committee(self, logits: Tensor, told: Tensor) -> Tensor:
        """The loss on pictures about which a committee has spoken, of all 52 shapes."""
        weight = torch.where(self._untaught, torch.full_like(self._weight, COMMITTEE_WEIGHT), self._weight)
        return ((logits.sigmoid() - told).abs() * weight).mean()

    def of_pictures(self, logits: Tensor, samples: Samples) -> Tensor:
        """The loss on pictures: the teacher's word, and the truth where that is known.

        What the teacher does not know is told by the truth alone; a real face that keeps still shows none of it. The
        truth's squared error makes the student expect rather than decide: by absolute error, what can be seen badly,
        as a frown of a drawn face, is never said.
        """
        known = ~samples.truth.isnan()
        told = logits.sigmoid()
        truthful = self._truth * known
        off = (told - samples.truth.nan_to_num()) ** 2
        still = (samples.taught * self._of_face).amax(1, keepdim=True) < STILL
        counted = self._untaught & (known | still)
        copied = (told - samples.taught).abs() * self._weight * (1 - truthful)
        return (copied + TRUTH_WEIGHT * off * truthful * ~self._untaught + UNTAUGHT_WEIGHT * off * counted).mean()


class Committee:
    """Students that were trained before, whose mean logit teaches another.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """

    def __init__(self, models: Sequence[Path], device: str) -> None:
        self._members = [Graph(path, device) for path in models]

    def __call__(self, samples: Samples) -> Tensor:
        """Weights n x 52 of pictures as they are."""
        given = {"landmarks": samples.landmarks, "picture": samples.pictures.float() / 255}
        told = torch.stack([member(**given)["blendshapes"] for member in self._members])
        return told.clamp(1e-4, 1 - 1e-4).logit().mean(0).sigmoid()

    def __bool__(self) -> bool:
        return bool(self._members)


def train(
    student: Student,
    meshes: Faces,
    pictures: Stream,
    goal: Goal,
    teacher: Teacher,
    committee: Committee,
    minutes: float,
    random: torch.Generator,
) -> Student:
    """Return the student, the running average over its steps."""
    average = torch.optim.swa_utils.AveragedModel(
        student, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999), use_buffers=True
    )
    optimiser = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=DECAY)
    reservoir = Reservoir(KEPT)
    began_s, step, done = time.monotonic(), 0, 0.0
    while done < 1:
        for group in optimiser.param_groups:
            group["lr"] = RATE * _rate(done)
        if step % FRESH_EVERY == 0:
            reservoir.add(pictures.take())
        with torch.no_grad():
            seen, meant = meshes.draw(MESHES, GAP)
            labels = teacher(meant)
            samples = reservoir.draw(SHOWN, random)
            shown = samples.pictures.float() / 255
            shown = restyled(shown, random) if step % 2 else shown
            told = committee(samples) if committee else None
        alone, together = student(samples.landmarks, shown)
        loss = goal.of_landmarks(student.of_landmarks(seen), labels) + goal.of_landmarks(alone, samples.taught)
        loss = loss + goal.of_pictures(together, samples) * (1 if told is None else BESIDE_COMMITTEE)
        if told is not None:
            loss = loss + goal.of_committee(together, told)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        average.update_parameters(student)
        done = (time.monotonic() - began_s) / (60 * minutes)
        if step % 250 == 0:
            print(f"step {step}: loss {loss.item():.4f}, {100 * done:.0f} %", flush=True)
        step += 1
    print(f"{step} steps", flush=True)
    trained: Student = average.module.eval()
    return trained


def _rate(done: float) -> float:
    """Up within a twentieth, then down along a cosine."""
    return min(done / 0.05, 1) * 0.5 * (1 + float(np.cos(np.pi * min(done, 1)))) + 1e-4


def film(bank: dict[str, Any], networks: Networks, device: str) -> tuple[Tensor, Tensor]:
    """Filmed faces and their mirror images, n x 3 x 256 x 256 (8 bits), and our landmarks in them, n x 478 x 2."""
    shown = torch.from_numpy(sources(bank).transpose(0, 3, 1, 2).copy()).to(device)
    around = squares_around(torch.from_numpy(bank["sources_px"]).to(device))
    pictures, points = [], []
    for flipped in (False, True):
        if flipped:
            shown = shown.flip(3)
            around = around.mirrored(shown.shape[3])
        found, seen = find_points(shown, around, networks)
        pictures.append(shown[seen])
        points.append(found[seen, :, :2])
    return torch.cat(pictures), torch.cat(points)


def correlations(told: Tensor, truth: Tensor) -> Tensor:
    """Of each column of n x k; NaN where one does not vary."""
    told, truth = told - told.mean(0), truth - truth.mean(0)
    return (told * truth).sum(0) / (told.norm(dim=0) * truth.norm(dim=0))


def tell_agreement(student: Student, bank: dict[str, Any], who: str, device: str) -> None:
    """Print how well the student agrees with the teacher on filmed people, over the shapes that the teacher fires."""
    own, inside, labels = (torch.from_numpy(bank[name]).to(device) for name in ("own_px", "sources_px", "labels"))
    shown = torch.from_numpy(sources(bank).transpose(0, 3, 1, 2).copy()).to(device).float() / 255
    pictures = cut(shown, picture_squares(inside), PICTURE_PX)
    fired = labels.std(0) > FIRES
    for name, logits in zip(("landmarks alone", "with pictures"), student(upright(own), pictures), strict=True):
        told = logits.sigmoid()
        correlation = correlations(told, labels)[fired].mean().item()
        error = (told - labels).abs()[:, fired].mean().item()
        untaught = told[:, _indices(UNTAUGHT)].mean(0).tolist()
        print(f"{who}, {name}: correlation {correlation:.4f}, mean absolute error {error:.4f}", end="; ")
        print("untaught", *(f"{value:.3f}" for value in untaught), flush=True)


def tell_truth(student: Student, drawn: Drawn, who: str) -> None:
    """Print how well the student knows the true weights of drawn people."""
    print(who, end=": ")
    told = []
    for first in range(0, len(drawn.pictures), 256):
        some = slice(first, first + 256)
        points = drawn.points_px[some]
        told.append(
            student(upright(points), cut(drawn.pictures[some].float() / 255, picture_squares(points), PICTURE_PX))[1]
        )
    for name, correlation in zip(
        BLENDSHAPES, correlations(torch.cat(told).sigmoid(), drawn.truth).tolist(), strict=True
    ):
        print(f"{name} {correlation:.2f}", end="; ")
    print(flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--ict", type=Path, required=True, help="the morphable face")
    parser.add_argument("--models", type=Path, required=True, help="fetched models, the second set included")
    parser.add_argument("--minutes", type=float, default=15, help="of training, after drawing")
    parser.add_argument("--people", type=int, default=30_000, help="to draw at first; new ones take their places")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--committee", type=Path, nargs="*", default=[], help="models to learn from besides")
    parser.add_argument("--start", type=Path, help="weights to go on with, as written beside a model")
    parser.add_argument("--hold-out", type=int, nargs="*", default=[], help="numbers of clips to train without")
    return parser.parse_args()


def main() -> None:
    """Draw, train, export, and say how well it went."""
    arguments = _arguments()
    home, helper = _devices()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(arguments.seed)
    with np.load(arguments.bank, allow_pickle=False) as file:
        bank = dict(file)
    held_out = np.isin(bank["clip"], arguments.hold_out)
    kept, kept_out = _part(bank, ~held_out), _part(bank, held_out)
    with torch.no_grad():
        networks = Networks(arguments.models, helper)
        shown, points_px = film(kept, networks, helper)
        people = drawing(arguments.ict, networks, helper, 1, 1 + arguments.seed)
        drawn = draw(people, arguments.people)
        knowledge = correlations(taught(drawn, networks), drawn.truth).to(home)
        teacher = Teacher(arguments.models / "face_blendshapes.onnx", home)
        meshes = Faces(kept, home)
        goal = Goal(teacher(meshes.draw(5 * MESHES, GAP)[1]).std(0), knowledge)
    random = torch.Generator(helper).manual_seed(arguments.seed)
    deformations = Deformations(bank["average_m"], helper, random)
    filmed = Pictures(shown, points_px, None, networks, deformations, random)
    invented = Pictures(drawn.pictures, drawn.points_px[..., :2], drawn.truth, networks, deformations, random)

    def renew() -> None:
        new = next(people)
        invented.renew(new.pictures, new.points_px[..., :2], new.truth)

    stream = Stream([invented, filmed], FRESH, home, renew)
    with torch.no_grad():
        seen, _ = meshes.draw(5 * MESHES, GAP)
        student = Student(seen.mean(0), seen.std(0) + 0.003).to(home)
    if arguments.start is not None:
        student.load_state_dict(torch.load(arguments.start, map_location=home))
    committee = Committee(arguments.committee, home)
    random = torch.Generator(home).manual_seed(1 + arguments.seed)
    student = train(student, meshes, stream, goal, teacher, committee, arguments.minutes, random)
    torch.save(student.state_dict(), arguments.model.with_suffix(".pt"))
    export(student, arguments.model)
    student.to(helper)
    with torch.no_grad():
        tell_agreement(student, kept, "people it was trained on", helper)
        if held_out.any():
            tell_agreement(student, kept_out, "people held out", helper)
        tell_truth(student, some_of(drawn, 1000), "drawn people it was trained on")
        unseen = draw(drawing(arguments.ict, networks, helper, 1, UNSEEN_SEED + 1), 1000)
        tell_truth(student, unseen, "unseen drawn people")


def _devices() -> tuple[str, str]:
    """What learns, and what draws and reads pictures for it: two graphics cards are twice as fast as one."""
    count = torch.cuda.device_count()
    return ("cuda:0", f"cuda:{count - 1}") if count else ("cpu", "cpu")


def some_of(drawn: Drawn, count: int) -> Drawn:
    """The first of them."""
    return Drawn(*(values[:count] for values in vars(drawn).values()))


def _part(bank: dict[str, Any], rows: "np.typing.NDArray[np.bool_]") -> dict[str, Any]:
    """A bank of some of the filmed pictures."""
    coded = np.split(bank["sources_jpeg"], bank["sources_end"][:-1])
    chosen = [one for one, kept in zip(coded, rows, strict=True) if kept]
    part = {name: values[rows] if len(values) == len(rows) else values for name, values in bank.items()}
    return part | {
        "sources_jpeg": np.concatenate([*chosen, np.zeros(0, np.uint8)]),
        "sources_end": np.cumsum([len(one) for one in chosen]),
    }


if __name__ == "__main__":
    main()

"""Train the expression network: landmarks and a picture of the face in, 52 ARKit weights out.

Two students learn from the same pictures: one takes a teacher's word, the other the truth of drawn faces. The second
says the shapes that the teacher does not know, and of the others as much as it takes to know drawn faces no worse than
the teacher does (``shares``).

    python -m engines.training.expression BANK model.onnx --ict ict_light.npz --models DIR [--minutes 20]

BANK is what ``engines.training.expression_bank`` wrote; DIR holds the second model set (``appliance models fetch
--task``). Draws its own people first. Made for a data-centre GPU.
"""

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from appliance.avatar.channels import BLENDSHAPES
from appliance.face.expression_network import PICTURE_PX, UNTAUGHT
from engines.training.deformations import Deformations
from engines.training.expression_bank import sources
from engines.training.expression_network import Pair, Student, export
from engines.training.expression_pruning import prune
from engines.training.expression_samples import Faces, upright
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
    some_mirrored,
    squares_around,
)
from engines.training.render_bank import UNSEEN_SEED, Drawn, draw, drawing, taught
from engines.training.renders_weights import overshown
from engines.training.teacher import Teacher

MESHES, SHOWN = 3072, 1024  # faces of a step: without pictures, and with
FRESH, FRESH_EVERY, KEPT = 512, 10, 600_000  # pictures of each source: made anew, every how many steps, and kept
NEW_BATCHES = 4  # of drawn people, before each fresh batch: other people teach more than more pictures of the same
GAP = 0.3  # how much of the two landmark networks' difference the student trains through, where it sees no picture
FROWN = ("mouthFrownLeft", "mouthFrownRight")
FROWN_SHARE = 0.65  # both students see a frown: the teacher hardly knows it, by drawings alone people at rest show it
TRUST = 0.5  # how much its picture counts to the first student: five filmed people do not teach what others look like
SHARES, MOST = tuple(share / 20 for share in range(17)), 0.5  # tried; taken where none of them is enough
BETTER = 0.03  # how much better than the teacher drawn faces must be known, as correlation: what chance may take back
CHOOSING_PEOPLE, TOLD_PEOPLE = 3000, 1000
PRUNED_BY = 20  # fresh batches: units that fire on none of them are left out
RATE, DECAY = 2e-3, 1e-2
TRUTH_WEIGHT = 5.0  # of cross-entropy beside absolute errors
RESTYLED_EVERY = 4  # steps
NOISE, SHAKE = 0.01, 0.006  # of 0..1; of the eyes' distance
CALM_FROM = 0.3  # of the training: the average of few steps knows nothing
FIRES = 0.02  # a shape whose teacher varies less than this on a set is not scored on it


@dataclass(frozen=True)
class Leaning:
    """What counts to a student."""

    copied: float  # weight of the teacher's word
    truth: float  # of drawn faces, 0..1
    unknown: float  # how much more, where the teacher knows nothing of a shape
    untaught: float  # weight of the cross-entropy of shapes that the teacher does not know


TAUGHT, TRUE = Leaning(1.0, 0.2, 0.2, 0.0), Leaning(0.3, 1.0, 0.0, 20.0)


def _indices(names: tuple[str, ...]) -> list[int]:
    return [BLENDSHAPES.index(name) for name in names]


class Goal:
    """What the student is to say, and how much each word counts.

    ``spread`` is how far each of 52 labels varies, ``knowledge`` how well the teacher knows each shape on drawn faces,
    as correlation with the truth.
    """

    def __init__(self, spread: Tensor, knowledge: Tensor, leaning: Leaning) -> None:
        untaught = torch.zeros(len(BLENDSHAPES), dtype=torch.bool, device=spread.device)
        untaught[_indices(UNTAUGHT)] = True
        self._untaught = untaught
        self._weight = leaning.copied / (spread + 0.03) * ~untaught  # a shape that seldom fires counts as much
        self._truth = leaning.truth + leaning.unknown * (1 - knowledge.nan_to_num().clamp(min=0))
        self._counts = torch.where(untaught, leaning.untaught, TRUTH_WEIGHT)

    def of_landmarks(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss on landmarks alone: the teacher's word on what it knows."""
        return ((logits.sigmoid() - labels).abs() * self._weight).mean()

    def of_pictures(self, logits: Tensor, samples: Samples) -> Tensor:
        """The loss on pictures: the teacher's word, and the truth where that is known.

        What the teacher does not know is told by the truth alone. The truth's cross-entropy makes the student expect
        rather than decide: by absolute error, what can be seen badly, as a frown of a drawn face, is never said; by
        the squared error of a sigmoid, what is seldom shown may die.
        """
        known = ~samples.truth.isnan()
        truthful = torch.where(self._untaught, 1.0, self._truth) * known
        copied = (logits.sigmoid() - samples.taught).abs() * self._weight * (1 - truthful)
        return (copied + truthful * self._off(logits, samples.truth.nan_to_num())).mean()

    def of_calm(self, logits: Tensor, settled: Tensor, truth: Tensor) -> Tensor:
        """The loss on pictures beside what the average over a student's own steps says, weights n x 52.

        Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017. Not where nobody else says a word
        (``truth`` NaN of an untaught shape): there the average would confirm its first guess for ever.
        """
        told = ~(self._untaught & truth.isnan())
        return (told * self._off(logits, settled)).mean()

    def _off(self, logits: Tensor, weights: Tensor) -> Tensor:
        return self._counts * functional.binary_cross_entropy_with_logits(logits, weights, reduction="none")


def trust() -> Tensor:
    """How much the first student's picture counts beside its landmarks, for each of 52 shapes.

    Where an eye looks, the landmarks of its iris tell; the filmed people look down at their hands.
    """
    of_shape = torch.full((len(BLENDSHAPES),), TRUST)
    of_shape[[index for index, name in enumerate(BLENDSHAPES) if name.startswith("eyeLook")]] = 0.0
    return of_shape


def shares(pair: Pair, drawn: Drawn, networks: Networks) -> Tensor:
    """How much of each of 52 shapes the student says that knows the truth of drawn faces.

    What no teacher knows, it says alone; of the others so little as makes the pair no worse than the teacher on
    ``drawn``, people on whom neither learnt.
    """
    goal = correlations(taught(drawn, networks), drawn.truth).nan_to_num() + BETTER
    first, second = (torch.cat(said) for said in zip(*(pair.each(*some) for some in looks(drawn)), strict=True))
    share = torch.full((len(BLENDSHAPES),), MOST, device=first.device)
    for tried in reversed(SHARES):
        known = correlations(torch.lerp(first, second, tried).sigmoid(), drawn.truth)
        share[known >= goal] = tried
    share[_indices(FROWN)] = share[_indices(FROWN)].clamp(min=FROWN_SHARE)
    share[_indices(UNTAUGHT)] = 1.0
    return share


def correct(pair: Pair) -> None:
    """Have the second student say untaught shapes as seldom as faces would show them if none were drawn more often.

    King and Zeng, "Logistic Regression in Rare Events Data", Political Analysis 2001: their prior correction.
    """
    untaught = _indices(UNTAUGHT)
    bias = pair.true.alone.bias
    bias[untaught] -= torch.from_numpy(overshown(BLENDSHAPES)).to(bias)[untaught]


def finished(pair: Pair, last: Sequence[Samples], drawn: Drawn, networks: Networks) -> Pair:
    """Trained students as they ship: without units idle on the ``last`` samples, rare shapes as rare as they are, and
    each one's share decided on ``drawn``, people on whom neither learnt."""
    for student in (pair.taught, pair.true):
        prune(student, ((samples.landmarks, samples.pictures.float() / 255) for samples in last))
    pair = pair.to(drawn.truth.device)
    correct(pair)
    pair.share.copy_(shares(pair, drawn, networks))
    print("shares of the truth:", *(f"{share:.2f}" for share in pair.share.tolist()), flush=True)
    return pair


def looks(drawn: Drawn) -> Iterator[tuple[Tensor, Tensor]]:
    """Drawn people as students see them, some at a time."""
    for first in range(0, len(drawn.pictures), 256):
        points = drawn.points_px[first : first + 256]
        shown = drawn.pictures[first : first + 256].float() / 255
        yield upright(points), cut(shown, picture_squares(points), PICTURE_PX)


def train(
    pair: Pair,
    meshes: Faces,
    pictures: Stream,
    goals: tuple[Goal, Goal],
    teacher: Teacher,
    minutes: float,
    random: torch.Generator,
) -> Pair:
    """Return the students, the running average over their steps; ``goals`` are theirs, in the same order."""
    average = torch.optim.swa_utils.AveragedModel(
        pair, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999), use_buffers=True
    )
    trained: Pair = average.module.eval()
    optimiser = torch.optim.AdamW(pair.parameters(), lr=RATE, weight_decay=DECAY)
    reservoir = Reservoir(KEPT)
    of_taught, of_true = goals
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
            turned = some_mirrored(samples, random)
            settled = trained.true.both_ways(turned.landmarks, turned.pictures.float() / 255).sigmoid()
            again = _shaken(turned.landmarks, SHAKE, random), _shaken(_styled(turned, step, random), NOISE, random)
        alone, told = pair.taught(samples.landmarks, _styled(samples, step, random))
        _, true = pair.true(*again)
        loss = of_taught.of_landmarks(pair.taught.of_landmarks(seen), labels)
        loss = loss + of_taught.of_landmarks(alone, samples.taught) + of_taught.of_pictures(told, samples)
        calm = of_true.of_calm(true, settled, turned.truth)
        loss = loss + of_true.of_pictures(true, turned) + min(done / CALM_FROM, 1) * calm
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        average.update_parameters(pair)
        done = (time.monotonic() - began_s) / (60 * minutes)
        if step % 250 == 0:
            print(f"step {step}: loss {loss.item():.4f}, {100 * done:.0f} %", flush=True)
        step += 1
    print(f"{step} steps", flush=True)
    return trained


def _styled(samples: Samples, step: int, random: torch.Generator) -> Tensor:
    shown = samples.pictures.float() / 255
    return restyled(shown, random) if step % RESTYLED_EVERY == 0 else shown


def _shaken(values: Tensor, spread: float, random: torch.Generator) -> Tensor:
    return values + spread * torch.randn(values.shape, device=values.device, generator=random)


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


def tell_agreement(pair: Pair, bank: dict[str, Any], who: str, device: str) -> None:
    """Print how well the students agree with the teacher on filmed people, over the shapes that the teacher fires."""
    own, inside, labels = (torch.from_numpy(bank[name]).to(device) for name in ("own_px", "sources_px", "labels"))
    shown = torch.from_numpy(sources(bank).transpose(0, 3, 1, 2).copy()).to(device).float() / 255
    pictures = cut(shown, picture_squares(inside), PICTURE_PX)
    fired = labels.std(0) > FIRES
    told = pair(upright(own), pictures).sigmoid()
    correlation = correlations(told, labels)[fired].mean().item()
    error = (told - labels).abs()[:, fired].mean().item()
    untaught = told[:, _indices(UNTAUGHT)].mean(0).tolist()
    print(f"{who}: correlation {correlation:.4f}, mean absolute error {error:.4f}; untaught", end=" ")
    print(*(f"{value:.3f}" for value in untaught), flush=True)


def tell_truth(pair: Pair, drawn: Drawn, who: str) -> None:
    """Print how well the students know the true weights of drawn people."""
    told = torch.cat([pair(*some) for some in looks(drawn)]).sigmoid()
    known = zip(BLENDSHAPES, correlations(told, drawn.truth).tolist(), strict=True)
    print(f"{who}:", "; ".join(f"{name} {correlation:.2f}" for name, correlation in known), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--ict", type=Path, required=True, help="the morphable face")
    parser.add_argument("--models", type=Path, required=True, help="fetched models, the second set included")
    parser.add_argument("--minutes", type=float, default=20, help="of training, after drawing")
    parser.add_argument("--people", type=int, default=12_000, help="to draw at first; new ones take their places")
    parser.add_argument("--seed", type=int, default=0)
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
        people = drawing(arguments.ict, networks, helper, 1, 1 + arguments.seed, many=True)
        drawn = draw(people, arguments.people)
        knowledge = correlations(taught(drawn, networks), drawn.truth).to(home)
        teacher = Teacher(arguments.models / "face_blendshapes.onnx", home)
        meshes = Faces(kept, home)
        spread = teacher(meshes.draw(5 * MESHES, GAP)[1]).std(0)
        goals = (Goal(spread, knowledge, TAUGHT), Goal(spread, knowledge, TRUE))
    random = torch.Generator(helper).manual_seed(arguments.seed)
    deformations = Deformations(bank["average_m"], helper, random)
    points = drawn.points_px[..., :2]
    invented = Pictures(drawn.pictures, points, drawn.truth, networks, deformations, random)
    moved = Pictures(drawn.pictures, points, None, networks, deformations, random)  # the same, in other expressions
    filmed = Pictures(shown, points_px, None, networks, deformations, random, filmed=True)

    def renew() -> None:
        for new in itertools.islice(people, NEW_BATCHES):
            invented.renew(new.pictures, new.points_px[..., :2], new.truth)

    stream = Stream([invented, invented, moved, filmed], FRESH, home, renew)  # of half of them the truth is known
    with torch.no_grad():
        seen, _ = meshes.draw(5 * MESHES, GAP)
        first, second = (Student(seen.mean(0), seen.std(0) + 0.003) for _ in range(2))
    random = torch.Generator(home).manual_seed(1 + arguments.seed)
    pair = Pair(first, second, trust(), torch.ones(len(BLENDSHAPES))).to(home)
    with closing(stream):
        pair = train(pair, meshes, stream, goals, teacher, arguments.minutes, random)
        torch.save(pair.state_dict(), arguments.model.with_suffix(".pt"))
        last = [stream.take() for _ in range(PRUNED_BY)]
    with torch.no_grad():
        new = drawing(arguments.ict, networks, helper, 1, UNSEEN_SEED + 1)
        pair = finished(pair, last, draw(new, CHOOSING_PEOPLE), networks)
        export(pair, arguments.model)
        tell_agreement(pair, kept, "people it was trained on", helper)
        if held_out.any():
            tell_agreement(pair, kept_out, "people held out", helper)
        tell_truth(pair, some_of(drawn, TOLD_PEOPLE), "drawn people it was trained on")
        tell_truth(pair, draw(new, TOLD_PEOPLE), "unseen drawn people")


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

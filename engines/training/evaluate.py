"""Hold the expression network against its teacher, on people it has not seen.

    python -m engines.training.evaluate UNSEEN_BANK --models DIR [--each]

UNSEEN_BANK is what ``engines.training.expression_bank`` wrote of clips that no training used; DIR holds
the second model set (``appliance models fetch --task``). Both networks read the landmarks of our own
landmark network; the truth is the whole teacher, its own landmarks included.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from appliance.avatar.channels import BLENDSHAPES
from appliance.face.expression_network import OWN_MODEL, ExpressionNetwork, own_network
from appliance.face.task_models import BLENDSHAPE_MODEL, TASK
from appliance.values import Float32
from engines.fetch import model_path
from engines.opening import open_runner
from engines.own import own_model, own_model_path
from engines.runners import Runner

FIRES = 0.02  # a shape whose teacher varies less than this over the clips says nothing
STEADIED = 0.7  # share of the newest picture where points are steadied, as the teacher steadies its own in video


@dataclass(frozen=True, slots=True)
class Agreement:
    """Correlation and mean absolute error by shape, NaN where the teacher does not fire."""

    correlation: Float32
    error: Float32

    def line(self) -> tuple[str, str]:
        """Both as means over the shapes that fire."""
        return f"{np.nanmean(self.correlation):.3f}", f"{np.nanmean(self.error):.4f}"


def agreement(told: Float32, truth: Float32) -> Agreement:
    """Compare n x 52 weights with the teacher's."""
    correlation, error = np.full(52, np.nan, np.float32), np.full(52, np.nan, np.float32)
    for shape in np.flatnonzero(truth.std(0) > FIRES):
        correlation[shape] = np.corrcoef(told[:, shape], truth[:, shape])[0, 1]
        error[shape] = np.abs(told[:, shape] - truth[:, shape]).mean()
    return Agreement(correlation, error)


def tell(runner: Runner, network: ExpressionNetwork, points_px: Float32) -> Float32:
    """The network's own output for n faces, n x 52, on the teacher's scale; what it does not know is 0."""
    weights = np.zeros((len(points_px), len(BLENDSHAPES)), np.float32)
    for row, points in zip(weights, points_px, strict=True):
        output = runner({network.given: network.seen(points)[None]})["blendshapes"][0]
        row[network.targets] = output[network.columns]
    return weights


def steadied(points_px: Float32, clip: Float32, share: float) -> Float32:
    """Points averaged over pictures of a clip, newest first."""
    steady = points_px.copy()
    for index in range(1, len(steady)):
        if clip[index] == clip[index - 1]:
            steady[index] = share * points_px[index] + (1 - share) * steady[index - 1]
    return steady


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--each", action="store_true", help="a row a shape as well")
    arguments = parser.parse_args()
    with np.load(arguments.bank, allow_pickle=False) as bank:
        points_px, truth, clip = bank["own_px"], bank["labels"], bank["clip"]
    own, teacher = (
        open_runner(own_model_path(OWN_MODEL)),
        open_runner(model_path(arguments.models, BLENDSHAPE_MODEL)),
    )
    results = {}
    for name, seen in (("", points_px), (", steadied", steadied(points_px, clip, STEADIED))):
        network = own_network(own_model(OWN_MODEL).inputs)
        results[f"ours{name}"] = agreement(tell(own, network, seen), truth)
        results[f"the teacher's network{name}"] = agreement(tell(teacher, TASK, seen), truth)
    console = Console()
    table = Table("on our landmarks", "correlation", "mean absolute error", title=f"{len(truth)} pictures")
    for name, result in results.items():
        table.add_row(name, *result.line())
    console.print(table)
    if arguments.each:
        console.print(_each(results["ours"], results["the teacher's network"]))


def _each(ours: Agreement, peer: Agreement) -> Table:
    table = Table("shape", "ours", "teacher's network", "our error", "its error")
    for shape in np.flatnonzero(np.isfinite(ours.correlation)):
        figures = (ours.correlation[shape], peer.correlation[shape], ours.error[shape], peer.error[shape])
        table.add_row(BLENDSHAPES[shape], *(f"{figure:.3f}" for figure in figures))
    return table


if __name__ == "__main__":
    main()

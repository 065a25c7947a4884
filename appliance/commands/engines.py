"""Build the engines of this device from its networks, list them, hold them against FP32, time them, split, prune.

build    makes what is missing, verified; INT8 that misses its tolerance, or is not faster here, gives way to FP16
prepare  for each boot: fetches networks that are missing and, where TensorRT runs them, builds engines
list     says of each network which engine is loaded, or why it is absent
verify   holds each engine against the FP32 reference once more
bench    times each engine from host memory to host memory
split    cuts an ONNX file that is too large to build into stages
prune    removes engines that nobody loads; the last good one of each kind stays
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from appliance.errors import ApplianceError
from appliance.installed import crops, every_network, networks, wanted_engines
from appliance.progress import Progress
from appliance.settings import Settings
from appliance.signals import handled
from engines import manifest
from engines.brought import is_brought
from engines.crops import crop_network, cuts
from engines.errors import EngineError
from engines.fetch import ensure, is_ready
from engines.keys import choose_engine, keys_in_use
from engines.networks import Network, network
from engines.opening import choose, this_board
from engines.own import is_own_model
from engines.store import Store
from engines.timing import batch_of, times
from engines.verifying import made_samples

if TYPE_CHECKING:
    from engines.stocking import Workshop

EXAMPLE = """
appliance engines build
appliance engines build face_landmarks --set engines.precision=fp16
appliance engines list --json
appliance engines split large.onnx --at encoder_out --at mid_1,mid_2
"""

_ACTIONS = ("build", "prepare", "list", "verify", "bench", "split", "prune")
_FRAMES = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """One network and its engine."""

    name: str
    precision: str
    state: str  # ready, untimed (it runs, and is yet to be held against FP16), damaged or absent
    why: str  # of an absent one; what a ready one was verified on
    fallback: str
    timed: str  # what it was chosen from
    bytes: int
    build_s: float
    file: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``appliance engines``."""
    parser.add_argument("action", choices=_ACTIONS, help="what to do")
    parser.add_argument(
        "networks", nargs="*", metavar="NETWORK", help="a network's name or an ONNX file (default: all that run here)"
    )
    parser.add_argument(
        "--again", action="store_true", help="build: even what is there or was refused, FP16 beside INT8 too"
    )
    parser.add_argument(
        "--tune",
        action="store_true",
        help="build: time every form of a network here, keep the fastest (--again: also of what is there)",
    )
    parser.add_argument(
        "--frames", type=int, default=_FRAMES, metavar="N", help="bench: how many (default: %(default)s)"
    )
    parser.add_argument(
        "--at", action="append", default=[], metavar="TENSOR[,TENSOR]", help="split: where to cut (repeatable)"
    )
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="split: where the stages go")
    parser.add_argument("--json", action="store_true", help="list, verify and bench: print JSON instead of a table")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Do what the arguments say."""
    if arguments.action == "split":
        return _split(arguments.networks, arguments.at, arguments.out)
    if arguments.action == "prepare":
        return _prepare(arguments, settings)
    if arguments.action == "prune":
        return _prune(settings)
    rows = {"build": _build, "list": _list, "verify": _verify, "bench": _bench}[arguments.action](arguments, settings)
    _print(rows, arguments.json)
    return 0


def _networks(arguments: argparse.Namespace, settings: Settings) -> list[Network]:
    """The networks that were named, else all that these settings run; where they name no camera, all there are."""
    names, models = arguments.networks or every_network(settings) or _every_one(), settings.storage.models
    fetched = [name for name in names if name in manifest.names()]
    ensure(models, fetched, _say)
    cutting = [] if arguments.networks else [crop_network(crop, models) for crop in crops(settings)]
    return [*(network(name, models) for name in names), *cutting]


def _every_one() -> list[str]:
    ours = sorted(path.parent.name for path in manifest.MODELS.glob("*/own_model.toml"))
    fetched = [name for name in manifest.names() if isinstance(manifest.load(name), manifest.Model)]
    return [name for name in ours if is_own_model(name)] + fetched


def _build(arguments: argparse.Namespace, settings: Settings) -> list[dict[str, object]]:
    from engines.stocking import Workshop, this_machine  # building needs what nothing else does

    machine, wanted = this_machine(), wanted_engines(settings)
    with Progress() as progress:
        began_s = time.monotonic()

        def tell(phase: str) -> None:
            progress.show(f"{time.monotonic() - began_s:.0f} s: {phase}")

        workshop = Workshop(machine, Store(wanted.engines), wanted, _say, tell)
        for one in _networks(arguments, settings):
            # TensorRT holds Python up for minutes: a signal ends the process there and then, and the store bears it.
            with handled(signal.SIG_DFL, signal.SIGTERM, signal.SIGINT):
                _ensure(workshop, one, arguments)
    return _list(arguments, settings)


def _ensure(workshop: "Workshop", one: Network, arguments: argparse.Namespace) -> None:
    try:
        workshop.ensure(one, arguments.again, arguments.tune)
    except EngineError as error:
        if not cuts(one):
            raise
        _say(f"{error}; until then the processor cuts")


def _prepare(arguments: argparse.Namespace, settings: Settings) -> int:
    """Make what the daemon needs; quick where all is there, as every boot waits for it."""
    ensure(settings.storage.models, networks(settings), _say)
    if choose(settings.engines.runner) != "tensorrt":
        return 0
    if any(row["state"] != "ready" for row in _list(arguments, settings)):
        _build(arguments, settings)
    return 0


def _list(arguments: argparse.Namespace, settings: Settings) -> list[dict[str, object]]:
    wanted = wanted_engines(settings)
    board, store = this_board(), Store(wanted.engines)
    rows = []
    for one in _networks(arguments, settings):
        choice = choose_engine(one, wanted, board, store)
        record, precision = store.find(choice.key), choice.key.precision
        fallback = choice.fallback or choice.passed_over
        if record is None:
            row = Row(one.name, precision, "absent", store.why_absent(choice.key), fallback, "", 0, 0.0, "")
        else:
            whole = store.is_whole(choice.key)
            why = f"on {record.verified_on}" if whole else "its SHA-256 is not the recorded one"
            state = "damaged" if not whole else "ready" if record.is_settled else "untimed"
            timed = "; ".join(filter(None, (record.timed, choice.preferred)))
            told = (why, fallback, timed, record.bytes, record.build_s, record.plan)
            row = Row(one.name, precision, state, *told)
        rows.append(asdict(row))
    return rows


def _verify(arguments: argparse.Namespace, settings: Settings) -> list[dict[str, object]]:
    from engines.stocking import Workshop, this_machine

    wanted = wanted_engines(settings)
    workshop = Workshop(this_machine(), Store(wanted.engines), wanted, _say, _say)
    rows: list[dict[str, object]] = []
    missed = []
    for one in _networks(arguments, settings):
        verdict = workshop.verify(one)
        missed += [f"{one.name}: {text}" for text in verdict.missed]
        rows += [
            {"name": one.name, "output": output, "error": verdict.errors[output], "tolerance": limit}
            for output, limit in verdict.tolerance.items()
        ]
    if missed:
        raise ApplianceError(f"{'; '.join(missed)}; build again with: appliance engines build --again")
    return rows


def _bench(arguments: argparse.Namespace, settings: Settings) -> list[dict[str, object]]:
    from engines.stocking import this_machine

    wanted, rows = wanted_engines(settings), list[dict[str, object]]()
    machine, store = this_machine(), Store(wanted.engines)
    for one in _networks(arguments, settings):
        choice = choose_engine(one, wanted, machine.board, store)
        plan, before = store.read(choice.key), machine.available_bytes()
        began_s = time.monotonic()
        runner = machine.run_plan(plan, one.name)
        load_s, taken = time.monotonic() - began_s, before - machine.available_bytes()
        for batch in dict.fromkeys((1, choice.options.largest_batch)):
            took = times(partial(runner, batch_of(made_samples(one), batch)), arguments.frames)
            figures = {
                "name": one.name,
                "precision": choice.key.precision,
                "batch": batch,
                "p50_ms": round(took.p50_ms, 4),
                "p99_ms": round(took.p99_ms, 4),
                "plan_mb": round(len(plan) / 1e6, 2),
                "memory_mb": round(taken / 1e6, 1),
                "load_s": round(load_s, 3),
            }
            rows.append(figures)
    return rows


def _split(files: Sequence[str], at: Sequence[str], out: Path) -> int:
    """Write the stages of a network beside each other, numbered in the order in which they run."""
    if len(files) != 1 or not files[0].endswith(".onnx") or not at:
        raise ApplianceError(
            "split takes one ONNX file and where to cut it: appliance engines split FILE.onnx --at TENSOR"
        )
    import onnx

    from engines.networks import brought
    from engines.split import split

    one = brought(Path(files[0]))
    stages = split(onnx.load(one.onnx), [cut.split(",") for cut in at])
    for number, stage in enumerate(stages, 1):
        path = out / f"{one.name}_{number}.onnx"
        onnx.save(stage, path)
        print(f"{path}: {_names(stage.graph.input)} -> {_names(stage.graph.output)}")
    return 0


def _names(entries: Sequence[object]) -> str:
    return ", ".join(str(getattr(entry, "name", "")) for entry in entries)


def _prune(settings: Settings) -> int:
    wanted = wanted_engines(settings)
    board, store = this_board(), Store(wanted.engines)
    models = settings.storage.models
    names = [
        name
        for name in every_network(settings) or _every_one()
        if is_own_model(name) or is_brought(name) or is_ready(models, name)
    ]
    networks = [*(network(name, models) for name in names), *(crop_network(crop, models) for crop in crops(settings))]
    keys = [key for one in networks for key in keys_in_use(one, wanted, board, store)]
    with store.locked(_say):
        removed = store.prune(keys)
    print(f"removed: {', '.join(removed) or 'nothing'}")
    return 0


def _print(rows: list[dict[str, object]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(*(rows[0] if rows else ("name",)))
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(soft_wrap=False).print(table)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

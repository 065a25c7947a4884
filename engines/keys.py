"""Which engine of a network this machine is to load: the daemon and the builder ask alike."""

from dataclasses import dataclass, replace
from pathlib import Path

from engines.board import Board
from engines.build import Options, flags_for, parse_version, profiles
from engines.manifest import MODELS
from engines.networks import Network
from engines.ranges import RANGES_COMMAND, TARGET, Ranges, ranges_for, read_ranges
from engines.store import Key, Store

PREPARATION_VERSION = 2
"""Counts changes of rewrites and quantisation that change the built file: engines of another version are absent."""

RANGES_FILE = "ranges.json"
HELD_OUT_FILE = "held_out.npz"
NO_RANGES = f"no calibration ranges; make them with: {RANGES_COMMAND}"
OLD_RANGES = (
    f"this site's ranges are of an older network, those that ship are used; make new ones with: {RANGES_COMMAND}"
)

NOT_FASTER = "int8 is not faster than fp16 here"
"""What a refusal begins with that is a choice and no fault."""

LOST_RANGES = (
    "an engine here was made from ranges of this site, and they are gone: put calibration/ back, "
    f"or make new ones with: {RANGES_COMMAND}"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings ask of engines."""

    precision: str
    engines: Path  # the folder of built engines
    calibration: Path  # the folder of this site's ranges and held-out inputs, a folder a network
    largest_batch: int = 8
    optimisation_level: int = 3
    faces: int = 1  # at most in one call: what a processor makes itself ready for


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine to build or load."""

    key: Key
    options: Options
    ranges: Ranges | None  # where its precision needs them
    fallback: str  # why it is not the precision that was asked for; empty where it is
    passed_over: str = ""  # why this site's own ranges are not used; empty where they are, or where it has none
    preferred: str = ""  # what was timed here that made this precision the better one: no fault


def choose_engine(network: Network, wanted: Wanted, board: Board, store: Store) -> Choice:
    """The precision asked for, or FP16 where INT8 has no calibration, was refused, or is not for this network.

    That INT8 was merely slower here is no fallback but a choice: ``preferred`` tells it.
    """
    if network.precision or wanted.precision != "int8":
        return choice_of(network, wanted, board, network.precision or wanted.precision, None)
    if not network.eight_bits:
        return choice_of(network, wanted, board, "fp16", None)
    ranges = find_ranges(network, wanted.calibration)
    if ranges is None:
        return choice_of(network, wanted, board, "fp16", None, lost(network, wanted, None, store) or NO_RANGES)
    first = choice_of(network, wanted, board, "int8", ranges)
    refused = store.refusal(first.key)
    is_slower = refused.startswith(NOT_FASTER)
    chosen = choice_of(network, wanted, board, "fp16", None, "" if is_slower else refused) if refused else first
    why = passed_over(network, wanted.calibration) or lost(network, wanted, ranges, store)
    return replace(chosen, passed_over=why, preferred=refused if is_slower else "")


def choice_of(
    network: Network, wanted: Wanted, board: Board, precision: str, ranges: Ranges | None, fallback: str = ""
) -> Choice:
    """The engine of a network in one precision."""
    is_open = all(shape[0] == "batch" for name, shape in network.inputs.items() if name not in network.shared)
    options = Options(precision, wanted.largest_batch if is_open else 1, wanted.optimisation_level)
    key = Key(
        model=network.name,
        precision=precision,
        onnx_sha256=network.onnx_sha256,
        manifest_sha256=network.manifest_sha256,
        calibration_sha256=ranges.sha256() if ranges else "",
        build=_build_flags(board, options),
        board=board,
    )
    return Choice(key, options, ranges, fallback)


def keys_in_use(network: Network, wanted: Wanted, board: Board, store: Store) -> list[Key]:
    """What must not be pruned: the engine that is loaded, and the refusal that made it the one."""
    ranges = find_ranges(network, wanted.calibration) if wanted.precision == "int8" else None
    first = [choice_of(network, wanted, board, "int8", ranges).key] if ranges else []
    return [*first, choose_engine(network, wanted, board, store).key]


def find_ranges(network: Network, calibration: Path) -> Ranges | None:
    """This site's ranges of a network, else those that ship with it; ``None`` where there are none."""
    path = _first(network, calibration, RANGES_FILE)
    return ranges_for(path, network.name, network.onnx_sha256) if path else None


def passed_over(network: Network, calibration: Path) -> str:
    """Why this site's ranges give way to those that ship: an update must not wait for somebody to film."""
    site, shipped = (folder / network.name / RANGES_FILE for folder in (calibration, MODELS))
    if not (site.is_file() and shipped.is_file()):
        return ""
    found = read_ranges(site)
    is_old = found.model == network.name and (found.onnx_sha256, found.form) != (network.onnx_sha256, TARGET)
    return OLD_RANGES if is_old else ""


def lost(network: Network, wanted: Wanted, shipped: Ranges | None, store: Store) -> str:
    """Whether this very network once had ranges of this site, as the engines' records tell; empty where not."""
    if (wanted.calibration / network.name / RANGES_FILE).is_file():
        return ""
    known = ("", shipped.sha256() if shipped else "")
    once = (network.name, network.onnx_sha256)
    keys = [record.key for record in store.records() if (record.key.model, record.key.onnx_sha256) == once]
    return LOST_RANGES if any(key.calibration_sha256 not in known for key in keys) else ""


def find_held_out(network: Network, calibration: Path) -> Path | None:
    """Inputs that no range was taken from: this site's, else those that ship with the network."""
    return _first(network, calibration, HELD_OUT_FILE)


def _first(network: Network, calibration: Path, name: str) -> Path | None:
    folders = (MODELS,) if passed_over(network, calibration) else (calibration, MODELS)
    candidates = (folder / network.name / name for folder in folders)
    return next((path for path in candidates if path.is_file()), None)


def _build_flags(board: Board, options: Options) -> str:
    flags = flags_for(parse_version(board.tensorrt), options.precision)
    batches = " ".join("..".join(map(str, sorted({small, most}))) for small, _, most in profiles(options.largest_batch))
    told = " ".join((*flags.network, *flags.builder, *flags.tactics))
    return f"batch {batches}; level {options.optimisation_level}; {told}; preparation {PREPARATION_VERSION}"

"""Which engine of a network this machine is to load: the daemon and the builder ask alike."""

from dataclasses import dataclass
from pathlib import Path

from engines.board import Board
from engines.build import Options, flags_for, parse_version, profiles
from engines.manifest import MODELS
from engines.networks import Network
from engines.ranges import RANGES_COMMAND, Ranges, read_ranges
from engines.store import Key, Store

PREPARATION_VERSION = 1
"""Counts changes of rewrites and quantisation that change the built file: engines of another version are absent."""

RANGES_FILE = "ranges.json"
HELD_OUT_FILE = "held_out.npz"
NO_RANGES = f"no calibration ranges; make them with: {RANGES_COMMAND}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings ask of engines."""

    precision: str
    engines: Path  # the folder of built engines
    calibration: Path  # the folder of this site's ranges and held-out inputs, a folder a network
    largest_batch: int = 8
    optimisation_level: int = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine to build or load."""

    key: Key
    options: Options
    ranges: Ranges | None  # where its precision needs them
    fallback: str  # why it is not the precision that was asked for; empty where it is


def choose_engine(network: Network, wanted: Wanted, board: Board, store: Store) -> Choice:
    """The precision asked for, or FP16 where INT8 has no calibration, was refused, or is not for this network."""
    if wanted.precision != "int8":
        return choice_of(network, wanted, board, wanted.precision, None)
    if not network.eight_bits:
        return choice_of(network, wanted, board, "fp16", None)
    ranges = find_ranges(network, wanted.calibration)
    if ranges is None:
        return choice_of(network, wanted, board, "fp16", None, NO_RANGES)
    first = choice_of(network, wanted, board, "int8", ranges)
    refused = store.refusal(first.key)
    return choice_of(network, wanted, board, "fp16", None, refused) if refused else first


def choice_of(
    network: Network, wanted: Wanted, board: Board, precision: str, ranges: Ranges | None, fallback: str = ""
) -> Choice:
    """The engine of a network in one precision."""
    is_open = all(shape[0] == "batch" for shape in network.inputs.values())
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
    return read_ranges(path, network.name, network.onnx_sha256) if path else None


def find_held_out(network: Network, calibration: Path) -> Path | None:
    """Inputs that no range was taken from: this site's, else those that ship with the network."""
    return _first(network, calibration, HELD_OUT_FILE)


def _first(network: Network, calibration: Path, name: str) -> Path | None:
    candidates = (calibration / network.name / name, MODELS / network.name / name)
    return next((path for path in candidates if path.is_file()), None)


def _build_flags(board: Board, options: Options) -> str:
    flags = flags_for(parse_version(board.tensorrt), options.precision)
    batches = " ".join("..".join(map(str, sorted({small, most}))) for small, _, most in profiles(options.largest_batch))
    told = " ".join((*flags.network, *flags.builder, *flags.tactics))
    return f"batch {batches}; level {options.optimisation_level}; {told}; preparation {PREPARATION_VERSION}"

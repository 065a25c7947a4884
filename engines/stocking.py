"""Fills the store: what is missing is prepared, built aside, held against the FP32 reference, and only then kept."""

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import onnx

from engines.board import Board, available_memory_bytes, read_board
from engines.build import Options, Tell, build_plan, flags_for, library, parse_version, workspace_bytes
from engines.cuda_driver import read_gpu
from engines.download import Say
from engines.errors import EngineError
from engines.half import to_fp16
from engines.keys import Choice, Wanted, choice_of, choose_engine, find_held_out, find_ranges
from engines.networks import Network
from engines.opening import choose, open_runner
from engines.precision import against, narrow_layers
from engines.quantize import quantize
from engines.ranges import TARGET as RANGES_TARGET
from engines.rewrites import for_target
from engines.runners import Runner
from engines.store import AGAINST, Key, Record, Store, plan_name
from engines.timing import median_ms
from engines.verifying import Samples, Verdict, made_samples, read_samples, verify

HEATS = 3
"""How often INT8 and FP16 are timed in turn; the best counts, so that other work on the GPU does not decide."""

MIXED = "narrow layers in 16 bits"
NO_HELD_OUT = "no held-out inputs to verify it on; record them with: appliance calibrate record"
FORMS: Mapping[str, tuple[str, ...]] = {
    "int8": (RANGES_TARGET, f"{RANGES_TARGET}, {MIXED}"),  # ranges belong to the tensors of one form
    "fp16": ("gpu-grouped", "gpu-blocks", "gpu", "gpu-dense"),
    "fp32": ("gpu-grouped",),
}
"""The rewrites that each precision may be built from; the first where nothing was measured."""

Build = Callable[[bytes, str, Options, int, bytes, Tell], tuple[bytes, bytes]]
"""ONNX, name, options, workspace in bytes, timing cache and who hears of phases; to a plan and a timing cache."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What building takes of this machine; a test brings what it has not."""

    board: Board
    available_bytes: Callable[[], int]  # memory that a build may take
    build: Build
    run_plan: Callable[[bytes, str], Runner]  # a plan and the name of its network
    run_reference: Callable[[Path], Runner]  # an ONNX file, in FP32
    time_ms: Callable[[Runner, Samples], float]  # the median of one sample


def this_machine() -> Machine:
    """Build and run here; ``EngineError`` without a driver, a GPU, TensorRT or pycuda."""
    gpu, trt = read_gpu(), library()
    choose("tensorrt")
    from engines.tensorrt_runner import free_bytes, open_plan

    available = available_memory_bytes if gpu.integrated else free_bytes
    board = read_board(str(trt.module.__version__), gpu)
    return Machine(board, available, partial(build_plan, trt), open_plan, open_runner, median_ms)


@dataclass(frozen=True, slots=True)
class Stock:
    """The engine of one network that this machine will load."""

    record: Record
    fallback: str  # why it is not the precision that was asked for


class Workshop:
    """Makes the engines of one machine. One process works in a store at a time."""

    def __init__(self, machine: Machine, store: Store, wanted: Wanted, say: Say, tell: Tell) -> None:
        self._machine = machine
        self._store = store
        self._wanted = wanted
        self._say = say
        self._tell = tell

    def ensure(self, network: Network, again: bool = False, tune: bool = False, race: bool = True) -> Stock:
        """Make the engine of a network present, verified; with ``again`` even if it is.

        INT8 that misses its tolerance is refused and FP16 made instead; with ``race`` so is INT8 that is not faster
        than FP16 here. A refusal holds until the network, its ranges or the board change, or ``again``.
        """
        with self._store.locked(self._say):
            self._reconsider(network, again)
            while True:
                choice = choose_engine(network, self._wanted, self._machine.board, self._store)
                why = self._refusal(network, choice, again, tune)
                if not why and race and not self._store.record(choice.key).is_settled:
                    why = self._race(network, choice, again, tune)
                    again = again and not why  # FP16 was just made for it
                if not why:
                    break
                if choice.key.precision != "int8":
                    raise EngineError(
                        f"the {choice.key.precision} engine of {network.name} {why}; the engine before it stays; "
                        "choose another engines.precision"
                    )
                self._store.refuse(choice.key, why)
            if choice.fallback:
                self._say(f"{network.name}: fp16 in place of int8: {choice.fallback}")
            for why in filter(None, (choice.preferred, choice.passed_over)):
                self._say(f"{network.name}: {why}")
            return Stock(self._store.record(choice.key), choice.fallback)

    def _reconsider(self, network: Network, again: bool) -> None:
        """Forget a refusal whose cause is gone, or which the operator doubts."""
        ranges = find_ranges(network, self._wanted.calibration) if self._wanted.precision == "int8" else None
        if ranges is None:
            return
        key = choice_of(network, self._wanted, self._machine.board, "int8", ranges).key
        recorded_since = find_held_out(network, self._wanted.calibration) is not None
        if again or (recorded_since and self._store.refusal(key) == NO_HELD_OUT):
            self._store.forget_refusal(key)

    def _refusal(self, network: Network, choice: Choice, again: bool, tune: bool) -> str:
        """Have the chosen engine there; return why it may not be used, or nothing."""
        if again or not self._store.is_whole(choice.key):
            if choice.key.precision == "int8" and find_held_out(network, self._wanted.calibration) is None:
                return NO_HELD_OUT
            verdict = self._make(network, choice, tune)
            if verdict.missed:
                return f"misses its tolerance: {', '.join(verdict.missed)}"
        return ""

    def _make(self, network: Network, choice: Choice, tune: bool = False) -> Verdict:
        """Build, verify, and put into the store what holds; with ``tune`` every form, of which the fastest stays."""
        self._say(f"building {network.name} in {choice.key.precision} ({self._store.why_absent(choice.key)})")
        forms = prepared_forms(
            network, choice, FORMS[choice.key.precision] if tune else FORMS[choice.key.precision][:1]
        )
        kept, verdicts, timed = math.inf, list[Verdict](), list[str]()
        for content, form in forms.items():
            began_s = time.monotonic()
            plan = self._build(network, choice, content)
            build_s = time.monotonic() - began_s
            verdict, verified_on = self._verify(network, choice, plan)
            took_ms = self._time(network, plan) if len(forms) > 1 and not verdict.missed else 0.0
            if len(forms) > 1:
                timed.append(f"{form}: {', '.join(verdict.missed) or f'{took_ms:.3f} ms'}")
                self._say(f"{network.name}: form {timed[-1]}")
            if not verdict.missed and took_ms < kept:
                kept, verdicts = took_ms, [verdict]
                self._put(choice.key, plan, build_s, form, verified_on, verdict)
            elif math.isinf(kept):
                verdicts = [verdict]
        if timed and not math.isinf(kept):
            self._note(choice.key, "; ".join(timed))
        return verdicts[0]

    def _build(self, network: Network, choice: Choice, content: bytes) -> bytes:
        machine, board = self._machine, choice.key.board
        workspace = workspace_bytes(machine.available_bytes())
        cache = self._store.timing_cache(board)
        plan, measured = machine.build(content, network.name, choice.options, workspace, cache, self._tell)
        if measured:
            self._store.keep_timing_cache(board, measured)
        return plan

    def _put(self, key: Key, plan: bytes, build_s: float, form: str, verified_on: str, verdict: Verdict) -> None:
        sha256 = hashlib.sha256(plan).hexdigest()
        name = plan_name(key, sha256)
        self._store.put(
            Record(key, name, sha256, len(plan), time.time(), build_s, form, verified_on, verdict.errors), plan
        )

    def _note(self, key: Key, timed: str) -> None:
        """Write down what an engine was timed against."""
        record = self._store.record(key)
        before = [record.timed] if record.timed else []
        self._store.put(replace(record, timed="; ".join([*before, timed])), self._store.read(key))

    def _time(self, network: Network, plan: bytes) -> float:
        return self._machine.time_ms(self._machine.run_plan(plan, network.name), made_samples(network))

    def verify(self, network: Network) -> Verdict:
        """Hold the engine that this machine will load against the reference once more."""
        choice = choose_engine(network, self._wanted, self._machine.board, self._store)
        return self._verify(network, choice, self._store.read(choice.key))[0]

    def _verify(self, network: Network, choice: Choice, plan: bytes) -> tuple[Verdict, str]:
        held_out = find_held_out(network, self._wanted.calibration)
        samples = read_samples(held_out, network) if held_out else made_samples(network)
        engine = self._machine.run_plan(plan, network.name)
        reference = self._machine.run_reference(network.onnx)
        verdict = verify(engine, reference, samples, network.tolerance, choice.options.largest_batch)
        count = len(next(iter(samples.values())))
        return verdict, f"{count} {'held-out' if held_out else 'made'} inputs"

    def _race(self, network: Network, choice: Choice, again: bool, tune: bool) -> str:
        """Why INT8 may not stay beside FP16 here, or nothing; FP16 is made for it where it is not there."""
        half = choice_of(network, self._wanted, self._machine.board, "fp16", None)
        self._say(f"{network.name}: int8 stays if it is faster than fp16")
        if again or not self._store.is_whole(half.key):
            missed = ", ".join(self._make(network, half, tune).missed)
            if missed:
                self._say(f"{network.name}: fp16 misses its tolerance ({missed}): int8 it is")
                self._note(choice.key, f"{AGAINST}, which misses its tolerance: {missed}")
                return ""
        samples = made_samples(network)
        runners = [self._machine.run_plan(self._store.read(key), network.name) for key in (choice.key, half.key)]
        heats = [[self._machine.time_ms(runner, samples) for runner in runners] for _ in range(HEATS)]
        int8_ms, fp16_ms = map(min, zip(*heats, strict=True))
        self._say(f"{network.name}: int8 {int8_ms:.3f} ms, fp16 {fp16_ms:.3f} ms")
        why = against(int8_ms, fp16_ms)
        if not why:
            self._note(choice.key, f"{int8_ms:.3f} ms {AGAINST} {fp16_ms:.3f} ms")
        return why


def prepared_forms(network: Network, choice: Choice, forms: Sequence[str]) -> dict[bytes, str]:
    """A network as it may be built, each form once, by the name of its rewrites: many a rewrite finds nothing to do."""
    typed = flags_for(parse_version(choice.key.board.tensorrt), choice.key.precision).typed
    made: dict[bytes, str] = {}
    for form in forms:
        made.setdefault(prepare(network, choice, form, typed).SerializeToString(), form)
    return made


def prepare(network: Network, choice: Choice, form: str, typed: bool) -> onnx.ModelProto:
    """Rewrite a network for a GPU, type it where types rule, and write the ranges into it."""
    target, _, mixed = form.partition(", ")
    model = for_target(onnx.load(network.onnx), target)
    keep = {*network.keep_fp16, *(narrow_layers(model) if mixed else ())}
    model = to_fp16(model) if typed else model
    return model if choice.ranges is None else quantize(model, choice.ranges.ranges, keep)

"""Measures TensorRT engines on this machine's GPU: python tests/gpu/measure.py WHAT... [--folder DIR] [--minutes M]

What: ``resnet`` (the shape of ResNet-18, INT8 beside FP16 and FP32), ``networks`` (every network of the appliance in
FP16 and INT8, whichever is faster), ``chain`` (crop, landmarks, expression, viseme on a 1280 x 720 picture), ``soak``
(memory over many frames). Each builds what it needs first and prints lines of JSON. ``--folder`` keeps engines and
timing caches from run to run.
"""

import argparse
import json
import mmap
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import graphs
import numpy as np

from appliance.installed import crops, wanted_engines
from appliance.settings import Settings, from_table
from engines import manifest
from engines.build import PRECISIONS, Options, build_plan, library
from engines.crop_graph import crop_graph
from engines.crops import crop_network
from engines.gpu_crop import CroppingRunner, GpuPicture
from engines.keys import Wanted
from engines.networks import Network, network
from engines.preprocess import Image
from engines.ranges import write_ranges
from engines.stocking import Workshop, this_machine
from engines.store import Key, Store
from engines.tensorrt_runner import LoadedEngine, TensorRTRunner, free_bytes
from engines.timing import batch_of, times
from engines.verifying import made_samples

FRAMES = 10_000
OURS = ("face_detector", "face_landmarks", "expression", "viseme")
WIDTH, HEIGHT = 1280, 720


def say(name: str, **figures: object) -> None:
    print(name, json.dumps(figures, default=lambda value: round(float(value), 4)), flush=True)


def shop(folder: Path, precision: str, largest_batch: int = 8, level: int = 3, engines: str = "engines") -> Workshop:
    return shop_for(Wanted(precision, folder / engines, folder / "calibration", largest_batch, level))


def shop_for(wanted: Wanted) -> Workshop:
    return Workshop(this_machine(), Store(wanted.engines), wanted, lambda line: print("#", line, flush=True), quiet)


def quiet(_phase: str) -> None:
    """Phases would fill the page."""


def calibrated(one: Network, folder: Path) -> None:
    """Ranges of pictures by a formula, and others to verify on."""
    from calibration.activations import ranges_of, spreads

    found, calls = spreads(one, [{"input": graphs.pictures(8, 224, seed)} for seed in range(8)])
    place = folder / "calibration" / one.name
    place.mkdir(parents=True, exist_ok=True)
    write_ranges(ranges_of(one, found, "minmax", calls), place / "ranges.json")
    np.savez(place / "held_out.npz", input=graphs.pictures(16, 224, 99))


def loaded(engines: Path, key: Key) -> tuple[LoadedEngine, TensorRTRunner, dict[str, float]]:
    """An engine with one runner, and what the two take."""
    plan = Store(engines).read(key)
    before, began_s = free_bytes(), time.monotonic()
    engine = LoadedEngine(plan, key.model)
    middle = free_bytes()
    load_s = time.monotonic() - began_s
    runner = TensorRTRunner(engine)
    memory = {"engine_mb": (before - middle) / 1e6, "runner_mb": (middle - free_bytes()) / 1e6}
    return engine, runner, {"plan_mb": len(plan) / 1e6, "load_s": load_s, **memory}


def resnet(folder: Path) -> None:
    path = graphs.resnet18(folder / "resnet18.onnx")
    one = replace(network(str(path), folder), tolerance={"output": 0.5})
    calibrated(one, folder)
    for precision in ("int8", "fp16", "fp32"):
        engines = f"engines_{precision}"  # with a timing cache of its own
        workshop = shop(folder, precision, 16, engines=engines)
        stock = workshop.ensure(one, race=False)
        again_s = workshop.ensure(one, again=True, race=False).record.build_s
        _, runner, figures = loaded(folder / engines, stock.record.key)
        images = graphs.pictures(16, 224, 5)
        first = {"input": images[:1].copy()}
        p1, p16 = times(partial(runner, first), FRAMES), times(partial(runner, {"input": images}))
        replays = {batch: times(partial(replay, runner, batch)) for batch in (1, 16)}
        figures |= {
            "p50_ms": p1.p50_ms,
            "p99_ms": p1.p99_ms,
            "p99/p50": p1.p99_ms / p1.p50_ms,
            "batch 16 p50_ms": p16.p50_ms,
        }
        figures |= {
            "batch 16/1": p16.p50_ms / p1.p50_ms,
            "replay p50_ms": replays[1].p50_ms,
            "replay batch 16 p50_ms": replays[16].p50_ms,
            "replay 16/1": replays[16].p50_ms / replays[1].p50_ms,
            "nodes": runner.nodes(),
            "error": stock.record.errors["output"],
        }
        figures |= {
            "build_s": stock.record.build_s,
            "built again, s": again_s,
            "times faster": stock.record.build_s / again_s,
        }
        say(f"resnet18 {stock.record.key.precision}", **figures)
        overhead(runner, first)
        faces(runner, precision)
    contexts(one, folder)


def replay(runner: TensorRTRunner, batch: int) -> None:
    """What lies where the GPU fetches it, there and back: no copy on the processor."""
    runner.launch(batch)
    runner.wait()


def overhead(runner: TensorRTRunner, given: dict[str, np.ndarray]) -> None:
    """The runner beside a bare replay with the same copies: to where the GPU fetches it, and what is in the graph."""
    pinned = runner.room(1)["input"]

    def bare() -> None:
        np.copyto(pinned, given["input"])
        runner.launch(1)
        runner.wait()

    alone, whole = times(bare, 3000), times(lambda: runner(given), 3000)
    say("runner over bare replay", bare_ms=alone.p50_ms, runner_ms=whole.p50_ms, ratio=whole.p50_ms / alone.p50_ms)


def faces(runner: TensorRTRunner, precision: str) -> None:
    """One face and sixteen, cut out of one picture by the GPU, the picture's own way there included."""
    picture, shared = shown_to_gpu(np.full((HEIGHT, WIDTH, 3), 127, np.uint8))
    crop = crop_engine(manifest.Preprocessing(224, 0.0, 1.0, "edge"), 16)
    cropping = CroppingRunner(runner, "input", crop, shared)
    cuts = [np.array([[1.4, 0.0, 60.0 * face], [0.0, 1.4, 20.0 * face]]) for face in range(16)]

    def cut(count: int) -> None:
        shown = picture.view()
        outputs = cropping.cut([(shown, matrix) for matrix in cuts[:count]], {})
        assert outputs is not None
        outputs()

    took = {count: times(partial(cut, count), 3000).p50_ms for count in (1, 2, 4, 8, 16)}
    figures = {f"{count} p50_ms": p50_ms for count, p50_ms in took.items()}
    say(f"resnet18 {precision}, faces cut by the GPU", **figures, **{"16/1": took[16] / took[1]})


def contexts(one: Network, folder: Path) -> None:
    """Frames a second of one engine through 1, 2 and 4 runners, each with a thread of its own."""
    workshop = shop(folder, "int8", 1, engines="engines_int8")
    engine, first, _ = loaded(folder / "engines_int8", workshop.ensure(one, race=False).record.key)
    runners = [first, *(TensorRTRunner(engine) for _ in range(3))]
    rates = {count: rate(runners[:count]) for count in (1, 2, 4)}
    say(
        "frames a second by contexts",
        **{str(count): value for count, value in rates.items()},
        ratio=rates[4] / rates[1],
    )


def rate(runners: list[TensorRTRunner], frames: int = 4000) -> float:
    def work(runner: TensorRTRunner) -> None:
        for _ in range(frames):
            runner.launch(1)
        runner.wait()

    for runner in runners:
        work(runner)
    threads = [threading.Thread(target=work, args=(runner,)) for runner in runners]
    began_s = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(runners) * frames / (time.monotonic() - began_s)


def networks(folder: Path, only: str = "", level: int = 3, tune: bool = True) -> None:
    """Every network of the appliance in FP16, then in INT8 even where that is slower: errors, times, kernels."""
    for name in [only] if only else OURS:
        one = network(name, folder / "models")
        for precision in ("fp16", "int8"):
            workshop = shop(folder, precision, level=level)
            stock = workshop.ensure(one, tune=tune, race=False)
            _, runner, figures = loaded(folder / "engines", stock.record.key)
            for batch in (1, 8):
                given = batch_of(made_samples(one), batch)
                figures |= {
                    f"batch {batch} {key}": value for key, value in asdict(times(partial(runner, given))).items()
                }
            say(
                f"{name} asked {precision}, got {stock.record.key.precision}",
                **figures,
                nodes=runner.nodes(),
                build_s=stock.record.build_s,
                errors=dict(stock.record.errors),
                on=stock.record.verified_on,
                fallback=stock.fallback,
            )


def with_engines(folder: Path, precision: str, level: int) -> Settings:
    """Settings of which every engine is there, as an appliance would have built it."""
    engines = {"runner": "tensorrt", "precision": precision, "optimisation_level": level}
    camera = {"name": "cam0", "source": "file:film.avi", "width": WIDTH, "height": HEIGHT}
    settings = from_table({"storage": {"directory": str(folder)}, "engines": engines, "camera": [camera]})
    workshop, models = shop_for(wanted_engines(settings)), settings.storage.models
    cutting = [crop_network(crop, models) for crop in crops(settings)]
    for one in [*(network(name, models) for name in OURS), *cutting]:
        stock = workshop.ensure(one)
        record = stock.record
        say(
            f"{one.name} runs in {record.key.precision}",
            timed=record.timed,
            fallback=stock.fallback,
            build_s=record.build_s,
        )
    return settings


def chain(settings: Settings) -> None:
    """One frame's way through our own networks, Python included."""
    for where, gpu_crop in (("processor", False), ("GPU", True)):
        for name, call in chain_step(settings, gpu_crop).items():
            say(f"chain {name}, cut by the {where}", **asdict(times(call, 2000)))
    say("landmarks from squares cut by the GPU, off by", **cut_difference(settings))


def chain_step(settings: Settings, gpu_crop: bool = False) -> dict[str, Callable[[], Any]]:
    import cv2

    from appliance.face.detector import Detector
    from appliance.face.expression_network import OWN_MODEL, Look, NetworkExpressionReader, own_network
    from appliance.face.landmarks import LandmarkReader
    from appliance.face.regions import region_from_detection
    from appliance.installed import opened, opened_together
    from appliance.listening.viseme_network import MODEL, VisemeNetwork
    from engines.own import own_model

    photograph = cv2.imread(str(settings.storage.models / "sources/astronaut.png"))
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, 280:1000] = cv2.resize(photograph[:300, 75:375], (720, 720))  # so near that the detector sees the face
    detections = Detector(opened(settings, "face_detector")).find(picture)
    region = region_from_detection(detections[0])
    load = opened_together(settings) if gpu_crop else opened
    networks = [load(settings, name) for name in ("face_landmarks", OWN_MODEL)]
    assert all(isinstance(one, CroppingRunner) == gpu_crop for one in networks)
    reader = LandmarkReader(networks[0])
    expressions = NetworkExpressionReader(networks[1], own_network(own_model(OWN_MODEL).inputs))
    visemes = VisemeNetwork(opened(settings, MODEL), own_model(MODEL).inputs)
    points = reader.read([(picture, region)])[0].points_px
    samples = np.zeros(160, np.float32)

    def frame() -> None:
        shown = picture.view()  # as a camera's next picture: a new array, in a buffer that was there before, now pinned
        expressions.read_all([Look(reader.read([(shown, region)])[0].points_px, shown, 65.0)])

    return {
        "landmarks with crop": lambda: reader.read([(picture.view(), region)]),
        "expression with crop": lambda: expressions.read_all([Look(points, picture.view(), 65.0)]),
        "viseme": lambda: visemes.name(samples),
        "frame: crop, landmarks, expression": frame,
    }


def shown_to_gpu(picture: Image) -> tuple[Image, GpuPicture]:
    """A picture in memory that the GPU fetches it from, and where it goes."""
    shared = GpuPicture(picture.shape[1], picture.shape[0])
    pinned = np.frombuffer(mmap.mmap(-1, picture.nbytes), np.uint8).reshape(picture.shape)
    pinned[:] = picture
    shared.pin(pinned)
    return pinned, shared


def crop_engine(preprocessing: manifest.Preprocessing, largest_batch: int) -> LoadedEngine:
    """What cuts squares of pictures of one size."""
    model = crop_graph(preprocessing, WIDTH, HEIGHT).SerializeToString()
    plan, _ = build_plan(library(), model, "crop", Options("fp32", largest_batch), 256 << 20, b"", quiet)
    return LoadedEngine(plan, "crop")


def cut_difference(settings: Settings) -> dict[str, float]:
    """How far landmarks lie apart that were read from squares of the two, pixels of the picture."""
    read = [chain_step(settings, gpu_crop)["landmarks with crop"]() for gpu_crop in (False, True)]
    apart = np.linalg.norm(read[0][0].points_px - read[1][0].points_px, axis=1)
    return {"mean_px": apart.mean(), "largest_px": apart.max()}


def soak(settings: Settings, minutes: float) -> None:
    """Memory of the GPU and of this process while frames go through, cut by the GPU."""
    frame = chain_step(settings, gpu_crop=True)["frame: crop, landmarks, expression"]
    for _ in range(2000):
        frame()
    before, host, frames = free_bytes(), resident_mb(), 0
    ends_s = time.monotonic() + 60 * minutes
    while time.monotonic() < ends_s:
        frame()
        frames += 1
    say("soak", minutes=minutes, frames=frames, gpu_mb=(before - free_bytes()) / 1e6, host_mb=resident_mb() - host)


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=("resnet", "networks", "chain", "soak"))
    parser.add_argument("--folder", type=Path, default=Path("measured"))
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--only", default="", choices=("", *OURS), help="networks: this one")
    parser.add_argument("--precision", default="int8", choices=PRECISIONS, help="chain and soak: what is asked for")
    parser.add_argument("--level", type=int, default=3, help="of the networks and the chain, 0 to 5")
    parser.add_argument("--untuned", action="store_true", help="networks: the first form of each precision alone")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for what in arguments.what:
        if what == "resnet":
            resnet(arguments.folder)
        elif what == "networks":
            networks(arguments.folder, arguments.only, arguments.level, not arguments.untuned)
        elif what == "chain":
            chain(with_engines(arguments.folder, arguments.precision, arguments.level))
        else:
            soak(with_engines(arguments.folder, arguments.precision, arguments.level), arguments.minutes)


if __name__ == "__main__":
    main()

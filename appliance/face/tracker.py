"""The face stage: from pictures to faces, each in its slot."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol, TypeVar

from appliance import settings
from appliance.face import bones
from appliance.face import slots as seats
from appliance.face.detector import Detector
from appliance.face.expression_network import Look
from appliance.face.landmarks import LandmarkReader
from appliance.face.slots import Slot, Waiting
from appliance.values import EVERYTHING, Expression, Face, Frame, Landmarks, Plan

_CHALLENGER = -1  # in the place of a slot's index

T = TypeVar("T")


@dataclass(slots=True)
class _Watched:
    """One camera: its slots, and what the next picture starts from."""

    camera: settings.Camera
    slots: tuple[Slot, ...]
    scanned_ns: int = 0
    waiting: tuple[Waiting, ...] = ()  # who stands there and has no slot
    challenger: Waiting | None = None  # who may take a slot from its holder, if this picture shows a face there
    expressions: dict[int, Expression] = field(default_factory=dict)  # the latest, by slot


class Expressions(Protocol):
    """What reads the expressions of all faces at once: see ``expression_network.NetworkExpressionReader``."""

    def read_all(self, looks: Sequence[Look]) -> list[Expression | None]:
        """Read every face; ``None`` for points that are no face."""
        ...


class Tracker:
    """Follows the people before every camera, one slot a person.

    The detector searches the whole picture only while nobody is held, and twice a second for who
    else is there; a held face is followed from its own landmarks. All faces of all cameras share one
    call of the landmark network and one of the expression network.
    """

    def __init__(
        self,
        cameras: Sequence[settings.Camera],
        detector: Detector,
        landmarks: LandmarkReader,
        expressions: Expressions,
    ) -> None:
        self._detector = detector
        self._landmarks = landmarks
        self._expressions = expressions
        self._watched = {
            camera.name: _Watched(camera, tuple(Slot(camera.name, index) for index in range(camera.faces)))
            for camera in cameras
        }

    def read(self, frames: Sequence[Frame], plan: Plan = EVERYTHING) -> list[Face]:
        """Every slot of every camera that has news, after its newest picture, with no more work than is planned."""
        clock = _Clock()
        for frame in frames:
            self._detect(frame, plan.search_ns)
        clock.stop("detect")
        self._follow(frames, plan.batch)
        clock.stop("landmarks")
        read = self._express(frames, plan.batch)
        clock.stop("expression")
        return [face for frame in frames for face in self._faces(frame, read, clock.stages_ms)]

    def _detect(self, frame: Frame, search_ns: int) -> None:
        watched = self._watched[frame.camera]
        if watched.scanned_ns and frame.captured_ns - watched.scanned_ns < search_ns:
            return
        if frame.image is None or not seats.wants_detection(watched.slots, watched.scanned_ns, frame.captured_ns):
            return
        now_ns = watched.scanned_ns = frame.captured_ns
        detections = self._detector.find(frame.image)
        watched.slots = seats.seat(watched.slots, detections, now_ns)
        watched.waiting = seats.wait(watched.waiting, watched.slots, detections, now_ns)
        watched.challenger = seats.challenger(watched.waiting, now_ns)

    def _follow(self, frames: Sequence[Frame], batch: int | None) -> None:
        looks = [
            (frame, slot.index, frame.image, slot.region)
            for frame in frames
            for slot in self._watched[frame.camera].slots
            if frame.image is not None and slot.looking and slot.region is not None
        ]
        looks += [
            (frame, _CHALLENGER, frame.image, challenger.region)
            for frame in frames
            if frame.image is not None and (challenger := self._watched[frame.camera].challenger)
        ]
        regions = [(image, region) for _, _, image, region in looks]
        found = [landmarks for part in _parts(regions, batch) for landmarks in self._landmarks.read(part)]
        seen = {(frame.camera, index): landmarks for (frame, index, _, _), landmarks in zip(looks, found, strict=True)}
        for frame in frames:
            watched = self._watched[frame.camera]
            now_ns = frame.captured_ns
            followed = [
                seats.follow(slot, seen[frame.camera, slot.index], now_ns)
                if (frame.camera, slot.index) in seen
                else seats.doubt(slot, now_ns)
                for slot in watched.slots
            ]
            challenged = _challenged(watched, followed, seen.get((frame.camera, _CHALLENGER)), now_ns)
            watched.slots = seats.part(challenged, now_ns)

    def _express(self, frames: Sequence[Frame], batch: int | None) -> dict[tuple[str, int], Expression]:
        """Read every face whose landmarks this picture gave, by camera and slot."""
        places: list[tuple[_Watched, int]] = []
        looks: list[Look] = []
        for frame in frames:
            watched = self._watched[frame.camera]
            for slot in watched.slots:
                if slot.landmarks is not None and frame.image is not None:
                    places.append((watched, slot.index))
                    previous = watched.expressions.get(slot.index)
                    fov_deg = watched.camera.horizontal_fov_deg
                    looks.append(Look(slot.landmarks.points_px, frame.image, fov_deg, previous))
                elif not slot.held:
                    watched.expressions.pop(slot.index, None)
        told = [expression for part in _parts(looks, batch) for expression in self._expressions.read_all(part)]
        read = {}
        for (watched, index), expression in zip(places, told, strict=True):
            if expression is not None:
                watched.expressions[index] = read[watched.camera.name, index] = expression
        return read

    def _faces(
        self, frame: Frame, read: Mapping[tuple[str, int], Expression], stages_ms: Mapping[str, float]
    ) -> list[Face]:
        watched = self._watched[frame.camera]
        waited_ms = max(0.0, (frame.received_ns - frame.captured_ns) / 1e6) if frame.received_ns else 0.0
        expressions = [read.get((frame.camera, slot.index)) for slot in watched.slots]
        watched.slots = tuple(
            _recognised(slot, expression, frame.captured_ns)
            for slot, expression in zip(watched.slots, expressions, strict=True)
        )
        latency_ms = {"capture": waited_ms, **stages_ms}
        return [
            _face(slot, frame, expression, latency_ms)
            for slot, expression in zip(watched.slots, expressions, strict=True)
        ]


def _parts(whole: Sequence[T], most: int | None) -> Iterator[Sequence[T]]:
    """Nothing, all at once, or pieces of at most so many."""
    step = most or len(whole)
    return (whole[start : start + step] for start in range(0, len(whole), step or 1))


class _Clock:
    """Times the stages of one pass."""

    def __init__(self) -> None:
        self._last_s = perf_counter()
        self.stages_ms: dict[str, float] = {}

    def stop(self, stage: str) -> None:
        now_s = perf_counter()
        self.stages_ms[stage] = (now_s - self._last_s) * 1e3
        self._last_s = now_s


def _challenged(watched: _Watched, slots: Sequence[Slot], landmarks: Landmarks | None, now_ns: int) -> Sequence[Slot]:
    """Let a challenger of whom landmarks were read take a slot; one that is no face waits anew."""
    challenger, watched.challenger = watched.challenger, None
    if challenger is None or landmarks is None:
        return slots
    watched.waiting = tuple(one for one in watched.waiting if one is not challenger)
    return seats.replaced(slots, challenger, landmarks, now_ns)


def _recognised(slot: Slot, expression: Expression | None, now_ns: int) -> Slot:
    """Measure now and then, and whenever somebody came back, whose face it is."""
    if expression is None or slot.landmarks is None or not seats.wants_bones(slot, now_ns):
        return slot
    if not bones.seen_well(expression.head, slot.landmarks.presence):
        return slot
    return seats.recognise(slot, bones.measure(slot.landmarks.points_px, expression.head), now_ns)


def _face(slot: Slot, frame: Frame, expression: Expression | None, latency_ms: Mapping[str, float]) -> Face:
    return Face(
        camera=frame.camera,
        slot=slot.index,
        session=slot.session,
        state=slot.state,
        since_ns=slot.since_ns,
        confidence=slot.landmarks.presence if slot.landmarks else 0.0,
        captured_ns=frame.captured_ns,
        expression=expression,
        latency_ms=latency_ms,
    )

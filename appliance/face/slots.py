"""Who is where: one slot a person, and what is known of that person. Pure functions of values."""

from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import hypot

from appliance.face.regions import region_from_detection, region_from_landmarks
from appliance.values import ACQUIRING_NS, Detection, Landmarks, Region, TrackingState

# Presence is the landmark network's own word that its crop holds a face. Two thresholds, so that
# a face on the edge of being one does not flicker.
_PRESENT = 0.6
_STILL_PRESENT = 0.35
_DOUBT_NS = 150_000_000  # a held face may be unclear for this long before it counts as lost
_RETURN_NS = 2_000_000_000  # within this, a face in the same place is the same visitor
_IDLE_NS = 10_000_000_000  # an absent visitor's avatar lives on its own after this
_RESCAN_NS = 500_000_000  # while some faces are held and fewer than wanted
_SAME_FACE = 0.35  # two regions whose centres are nearer than this part of their size show one face
_SAME_PLACE = 1.2  # a lost face comes back within this part of its size

_HELD = (TrackingState.ACQUIRING, TrackingState.TRACKING)


@dataclass(frozen=True, slots=True)
class Slot:
    """One place for one person."""

    camera: str
    index: int
    state: TrackingState = TrackingState.ABSENT
    since_ns: int = 0
    session: str = ""  # empty until a face is confirmed
    met_ns: int = 0  # when this session began
    seen_ns: int = 0  # when the face was last clear
    region: Region | None = None  # where to look next, or where the face was last seen
    looking: bool = False  # whether there is anything to look at in the region
    landmarks: Landmarks | None = None  # of the latest picture; None when the face was unclear

    @property
    def held(self) -> bool:
        """Whether a face is being followed."""
        return self.state in _HELD


def wants_detection(slots: Sequence[Slot], scanned_ns: int, now_ns: int) -> bool:
    """Whether the whole picture should be searched: at once when nobody is held, else now and then."""
    free = [slot for slot in slots if not slot.looking]
    if not free:
        return False
    return len(free) == len(slots) or now_ns - scanned_ns >= _RESCAN_NS


def seat(slots: Sequence[Slot], detections: Sequence[Detection]) -> tuple[Slot, ...]:
    """Point a free slot at each newly detected face: its old one where it just left, else the first free.

    The largest, so the nearest, face is served first. Whether it is a face, ``follow`` decides.
    """
    seats = list(slots)
    for detection in sorted(detections, key=lambda found: found.left_px - found.right_px):
        region = region_from_detection(detection)
        if any(slot.looking and slot.region and same_face(slot.region, region) for slot in seats):
            continue
        place, returning = _place_for(seats, region)
        if place is not None:
            session = seats[place].session if returning else ""
            seats[place] = replace(seats[place], region=region, looking=True, landmarks=None, session=session)
    return tuple(seats)


def follow(slot: Slot, landmarks: Landmarks, now_ns: int) -> Slot:
    """What one more look at a slot's region says of the person in it."""
    unsure = slot.held and now_ns - slot.seen_ns < _DOUBT_NS
    if landmarks.presence < (_STILL_PRESENT if unsure else _PRESENT):
        return doubt(slot, now_ns)
    region = region_from_landmarks(landmarks)
    clear = replace(slot, seen_ns=now_ns, region=region, landmarks=landmarks)
    if not clear.session:
        clear = replace(clear, met_ns=now_ns, session=_session(slot.camera, slot.index, now_ns))
    known = now_ns - clear.met_ns >= ACQUIRING_NS
    return _enter(clear, TrackingState.TRACKING if known else TrackingState.ACQUIRING, now_ns)


def doubt(slot: Slot, now_ns: int) -> Slot:
    """Nothing was seen of a slot's person in this picture: time alone decides."""
    unseen = replace(slot, landmarks=None, looking=slot.looking and slot.held, since_ns=slot.since_ns or now_ns)
    away_ns = now_ns - slot.seen_ns
    if slot.held and away_ns >= _DOUBT_NS:
        return replace(_enter(unseen, TrackingState.LOST, now_ns), looking=False)
    if slot.state is TrackingState.LOST and (away_ns >= _RETURN_NS or not slot.session):
        return replace(_enter(unseen, TrackingState.ABSENT, now_ns), session="", region=None)
    if slot.state is TrackingState.ABSENT and now_ns - unseen.since_ns >= _IDLE_NS:
        return _enter(unseen, TrackingState.IDLE, now_ns)
    return unseen


def part(slots: Sequence[Slot], now_ns: int) -> tuple[Slot, ...]:
    """Where two slots came to follow one face, the longer acquaintance keeps it."""
    kept: list[Slot] = []
    by_age = sorted(slots, key=lambda slot: slot.met_ns)
    for slot in by_age:
        doubled = (
            slot.looking
            and slot.region
            and any(other.looking and other.region and same_face(other.region, slot.region) for other in kept)
        )
        lost = replace(_enter(slot, TrackingState.LOST, now_ns), looking=False, landmarks=None)
        kept.append(lost if doubled else slot)
    return tuple(sorted(kept, key=lambda slot: slot.index))


def same_face(one: Region, other: Region) -> bool:
    """Whether two regions show the same face."""
    return _apart(one, other) < _SAME_FACE


def _apart(one: Region, other: Region) -> float:
    """Distance of the centres in units of the larger face."""
    return hypot(one.x_px - other.x_px, one.y_px - other.y_px) / max(one.size_px, other.size_px, 1e-6)


def _place_for(slots: Sequence[Slot], region: Region) -> tuple[int | None, bool]:
    """The slot for a new face, and whether its last visitor is taken to have come back."""
    lost = [slot for slot in slots if slot.state is TrackingState.LOST and not slot.looking]
    near = [(_apart(slot.region, region), slot.index) for slot in lost if slot.region and slot.session]
    if near and min(near)[0] < _SAME_PLACE:
        return min(near)[1], True
    free = [slot for slot in slots if not slot.looking]
    # A slot whose visitor may yet come back is taken last.
    free.sort(key=lambda slot: (slot.state is TrackingState.LOST, slot.index))
    return (free[0].index, False) if free else (None, False)


def _enter(slot: Slot, state: TrackingState, now_ns: int) -> Slot:
    return slot if slot.state is state else replace(slot, state=state, since_ns=now_ns)


def _session(camera: str, index: int, now_ns: int) -> str:
    """Six letters and digits; the same in every replay of a recording."""
    digest = blake2b(f"{camera}/{index}/{now_ns}".encode(), digest_size=4).digest()
    return b32encode(digest).decode()[:6].lower()

"""Who is where: one slot a person, and what is known of that person. Pure functions of values.

Where more people stand than there are slots, the nearest are served, and whoever is served stays:
another must be clearly nearer for a while to take a slot from its holder.
"""

from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import hypot

from appliance.face import bones
from appliance.face.bones import Bones
from appliance.face.regions import region_from_detection, region_from_landmarks
from appliance.values import ACQUIRING_NS, Detection, Float32, Landmarks, Region, TrackingState

# Presence is the landmark network's own word that its crop holds a face. Two thresholds, so that
# a face on the edge of being one does not flicker.
_PRESENT = 0.6
_STILL_PRESENT = 0.35
_DOUBT_NS = 150_000_000  # a held face may be unclear for this long before it counts as lost
_RETURN_NS = 2_000_000_000  # within this, a face in the same place is the same visitor
_IDLE_NS = 10_000_000_000  # an absent visitor's avatar lives on its own after this
_RESERVED_NS = 1_000_000_000  # so long a lost visitor's slot is kept from others
_RESCAN_NS = 500_000_000  # while some face is held
_SAME_FACE = 0.35  # two regions whose centres are nearer than this part of their size show one face
_SAME_PLACE = 1.2  # a lost face comes back within this part of its size

_CLEARLY_NEARER = 1.3  # in size, of somebody who waits to whom a slot's holder yields,
_PATIENCE_NS = 1_500_000_000  # after so long
_WAITING_NS = 1_200_000_000  # who was not seen for so long no longer waits: two scans

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
    size_px: float = 0.0  # of the region as the detector last had it: what newcomers are held against
    bones: Bones | None = None  # of this session's visitor
    returned: Bones | None = None  # of who came back, until it is known whether that is the same visitor
    back: bool = False  # whether that is to be found out

    @property
    def held(self) -> bool:
        """Whether a face is being followed."""
        return self.state in _HELD


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody whom no slot has room for."""

    region: Region
    since_ns: int
    seen_ns: int
    nearer_ns: int | None  # since when clearly nearer than the farthest holder; None when not


def wants_detection(slots: Sequence[Slot], scanned_ns: int, now_ns: int) -> bool:
    """Whether the whole picture should be searched: at once when nobody is held, else now and then."""
    return not any(slot.looking for slot in slots) or now_ns - scanned_ns >= _RESCAN_NS


def seat(slots: Sequence[Slot], detections: Sequence[Detection], now_ns: int) -> tuple[Slot, ...]:
    """Point a free slot at each newly detected face: its old one where it just left, else the first free.

    The largest, so the nearest, face is served first. Whether it is a face, ``follow`` decides.
    """
    seats = list(slots)
    for detection in sorted(detections, key=lambda found: found.left_px - found.right_px):
        region = region_from_detection(detection)
        holder = _holder(seats, region)
        if holder is not None:
            seats[holder.index] = replace(holder, size_px=region.size_px)
            continue
        place, returning = _place_for(seats, region, now_ns)
        if place is not None:
            fresh = seats[place] if returning else _vacated(seats[place])
            seats[place] = replace(
                fresh,
                region=region,
                size_px=region.size_px,
                looking=True,
                landmarks=None,
                back=returning,
                returned=None,
            )
    return tuple(seats)


def wait(
    waiting: Sequence[Waiting], slots: Sequence[Slot], detections: Sequence[Detection], now_ns: int
) -> tuple[Waiting, ...]:
    """Who waits for a slot after a scan that has found these faces and seated whom it could."""
    known = [one for one in waiting if now_ns - one.seen_ns < _WAITING_NS]
    farthest = farthest_holder(slots)
    still: list[Waiting] = []
    for region in (region_from_detection(detection) for detection in detections):
        if _holder(slots, region) is not None:
            continue
        known.sort(key=lambda one: _apart(one.region, region))
        before = known.pop(0) if known and _apart(known[0].region, region) < _SAME_PLACE else None
        nearer_ns = None
        if farthest is not None and region.size_px > _CLEARLY_NEARER * farthest.size_px:
            nearer_ns = before.nearer_ns if before and before.nearer_ns is not None else now_ns
        still.append(Waiting(region, before.since_ns if before else now_ns, now_ns, nearer_ns))
    unseen = [one for one in known if _holder(slots, one.region) is None]
    return (*still, *unseen)


def challenger(waiting: Sequence[Waiting], now_ns: int) -> Waiting | None:
    """Who of those seen just now has been clearly nearer than a holder for long enough: the nearest, then the first."""
    ready = [
        one
        for one in waiting
        if one.seen_ns == now_ns and one.nearer_ns is not None and now_ns - one.nearer_ns >= _PATIENCE_NS
    ]
    return min(ready, key=lambda one: (-one.region.size_px, one.since_ns), default=None)


def farthest_holder(slots: Sequence[Slot]) -> Slot | None:
    """Who yields to a challenger: the smallest face, the latest of equals; nobody while a slot is free."""
    if not all(slot.held for slot in slots):
        return None
    return min(slots, key=lambda slot: (slot.size_px, -slot.met_ns), default=None)


def replaced(slots: Sequence[Slot], challenger: Waiting, landmarks: Landmarks, now_ns: int) -> tuple[Slot, ...]:
    """Give the farthest holder's slot to a challenger, if a look at the challenger shows a face."""
    farthest = farthest_holder(slots)
    if farthest is None or landmarks.presence < _PRESENT:
        return tuple(slots)
    empty = replace(_vacated(farthest), state=TrackingState.ABSENT, looking=True, size_px=challenger.region.size_px)
    taken = follow(empty, landmarks, now_ns)
    return tuple(taken if slot.index == farthest.index else slot for slot in slots)


def follow(slot: Slot, landmarks: Landmarks, now_ns: int) -> Slot:
    """What one more look at a slot's region says of the person in it."""
    unsure = slot.held and now_ns - slot.seen_ns < _DOUBT_NS
    if landmarks.presence < (_STILL_PRESENT if unsure else _PRESENT):
        return doubt(slot, now_ns)
    region = region_from_landmarks(landmarks)
    # The detector's square and the landmarks' differ in size: the one grows as the other does.
    grown = region.size_px / slot.region.size_px if slot.region and slot.landmarks else 1.0
    clear = replace(slot, seen_ns=now_ns, region=region, landmarks=landmarks, size_px=slot.size_px * grown)
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
        return replace(_vacated(_enter(unseen, TrackingState.ABSENT, now_ns)), region=None)
    if slot.state is TrackingState.ABSENT and now_ns - unseen.since_ns >= _IDLE_NS:
        return _enter(unseen, TrackingState.IDLE, now_ns)
    return unseen


def recognise(slot: Slot, lengths: Float32, now_ns: int) -> Slot:
    """Learn a visitor's bones; begin a new session when who came back to the slot has another's."""
    if not slot.back or slot.bones is None:
        return replace(slot, bones=bones.add(slot.bones, lengths, now_ns), back=False)
    returned = bones.add(slot.returned, lengths, now_ns)
    if bones.strangers(slot.bones, returned):
        session = _session(slot.camera, slot.index, now_ns)
        other = replace(slot, session=session, met_ns=now_ns, bones=returned, returned=None, back=False)
        return _enter(other, TrackingState.ACQUIRING, now_ns)
    if returned.count < bones.ENOUGH:
        return replace(slot, returned=returned)
    return replace(slot, returned=None, back=False)


def wants_bones(slot: Slot, now_ns: int) -> bool:
    """Whether it is time to measure the bones of a slot's visitor."""
    return bones.due(slot.returned if slot.back and slot.bones else slot.bones, now_ns)


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


def _holder(slots: Sequence[Slot], region: Region) -> Slot | None:
    """The slot that looks at a face already."""
    return next((slot for slot in slots if slot.looking and slot.region and same_face(slot.region, region)), None)


def _vacated(slot: Slot) -> Slot:
    """A slot without its visitor."""
    return replace(slot, session="", landmarks=None, bones=None, returned=None, back=False)


def _place_for(slots: Sequence[Slot], region: Region, now_ns: int) -> tuple[int | None, bool]:
    """The slot for a new face, and whether its last visitor is taken to have come back."""
    lost = [slot for slot in slots if slot.state is TrackingState.LOST and not slot.looking]
    near = [(_apart(slot.region, region), slot.index) for slot in lost if slot.region and slot.session]
    if near and min(near)[0] < _SAME_PLACE:
        return min(near)[1], True
    free = [slot for slot in slots if not (slot.looking or (slot in lost and now_ns - slot.seen_ns < _RESERVED_NS))]
    # A slot whose visitor may yet come back is taken last.
    free.sort(key=lambda slot: (slot.state is TrackingState.LOST, slot.index))
    return (free[0].index, False) if free else (None, False)


def _enter(slot: Slot, state: TrackingState, now_ns: int) -> Slot:
    return slot if slot.state is state else replace(slot, state=state, since_ns=now_ns)


def _session(camera: str, index: int, now_ns: int) -> str:
    """Six letters and digits; the same in every replay of a recording."""
    digest = blake2b(f"{camera}/{index}/{now_ns}".encode(), digest_size=4).digest()
    return b32encode(digest).decode()[:6].lower()

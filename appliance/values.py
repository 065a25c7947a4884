"""The values that travel one way through the appliance, from picture to bytes.

Every value is frozen, carries ``captured_ns`` or ``heard_ns`` (CLOCK_MONOTONIC), and refers to
nothing that made it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Point = tuple[float, float]
Stages = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture, as the camera delivered it; or, without one, the news that time passes."""

    camera: str
    sequence: int  # counts the camera's pictures from 1; a gap is a dropped picture
    captured_ns: int  # CLOCK_MONOTONIC, when the sensor finished the picture
    image: Image | None  # height x width x 3, BGR; None while the camera is quiet
    received_ns: int = 0  # when this process had the picture in hand


@dataclass(frozen=True, slots=True)
class Region:
    """A turned square of a picture, in pixels: where one face is."""

    x_px: float  # centre
    y_px: float
    size_px: float
    rotation_rad: float  # of the face in the picture, clockwise as seen


@dataclass(frozen=True, slots=True)
class Detection:
    """One face as the detector found it."""

    left_px: float
    top_px: float
    right_px: float
    bottom_px: float
    keypoints_px: Float32  # 6 x 2: the person's right eye, left eye, nose, mouth, right ear, left ear
    score: float  # 0..1


@dataclass(frozen=True, slots=True)
class Landmarks:
    """478 points of one face in one picture."""

    points_px: Float32  # 478 x 3; x right, y down, z away from the camera, all in picture pixels
    presence: float  # 0..1, how sure the network is that this is a face


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Where the head is: OpenGL camera convention, metres."""

    rotation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)  # quaternion x, y, z, w
    position_m: tuple[float, float, float] = (0.0, 0.0, -0.6)


@dataclass(frozen=True, slots=True)
class Gaze:
    """Where each eye looks relative to the head: yaw and pitch, degrees, + to the picture's right and up."""

    left_deg: Point = (0.0, 0.0)
    right_deg: Point = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Expression:
    """What one face does in one picture, before smoothing."""

    blendshapes: Float32  # 52, 0..1, in the order of channels.BLENDSHAPES
    head: HeadPose
    gaze: Gaze


ACQUIRING_NS = 1_000_000_000
"""How long a new face is watched, its resting expression learnt, before it counts as tracked."""


class TrackingState(str, Enum):
    """What is known about the person in a slot."""

    ABSENT = "absent"  # nobody has been here
    ACQUIRING = "acquiring"  # a face is held, its resting expression is being learned
    TRACKING = "tracking"
    LOST = "lost"  # the face went a moment ago and may come back as the same person
    IDLE = "idle"  # nobody for a while: the avatar lives on its own
    VOICE = "voice"  # sound alone moves the mouth


@dataclass(frozen=True, slots=True)
class Face:
    """One slot of one camera after one picture."""

    camera: str
    slot: int
    session: str  # names one visitor's stay; empty before the first
    state: TrackingState
    since_ns: int  # CLOCK_MONOTONIC, when the state began
    confidence: float  # 0..1
    captured_ns: int
    expression: Expression | None  # None when no face is held
    latency_ms: Stages = field(default_factory=dict)  # stage name to milliseconds


@dataclass(frozen=True, slots=True)
class Sound:
    """One block of sound, as the microphone delivered it, or several that follow each other."""

    microphone: str
    samples: Float32  # mono, 16 kHz, -1..1
    heard_ns: int  # CLOCK_MONOTONIC, when the last sample was heard


SPEECH_STEP_NS = 10_000_000
"""From one row of ``Speech`` to the next."""


@dataclass(frozen=True, slots=True)
class Speech:
    """What a voice said in the last third of a second, and begins to say."""

    sure_ns: int  # CLOCK_MONOTONIC of the newest moment that is known well
    newest_ns: int  # of the last row: what lies after ``sure_ns`` is a first guess
    visemes: Float32  # moments x 15; each row sums to 1, and is ``sil`` where nobody speaks
    loudness_db: Float32  # moments; over or under this voice's usual loudness


@dataclass(frozen=True, slots=True)
class Voice:
    """What one microphone says about the voice before it."""

    microphone: str
    heard_ns: int
    active: bool = False
    level: float = 0.0  # 0..1, loudness
    arousal: float = 0.5  # 0..1, from tired to excited
    visemes: Float32 | None = None  # 15, sums to 1; None where no viseme network runs
    speech: Speech | None = None  # as above
    ready_ns: int = 0  # CLOCK_MONOTONIC, when this was known; 0 in a replay


@dataclass(frozen=True, slots=True)
class AvatarState:
    """Everything a renderer needs for one moment of one avatar."""

    stream: str  # camera or microphone name
    slot: int
    sequence: int  # counts the states of this stream and slot
    session: str
    state: TrackingState
    since_ns: int
    confidence: float
    captured_ns: int
    head: HeadPose
    gaze: Gaze
    blendshapes: Float32  # 52, 0..1
    visemes: Float32  # 15
    voice: Voice
    mood: Float32  # 5, in the order of channels.MOODS
    latency_ms: Stages = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much the stages may do now: everything, unless memory is short or the device is hot."""

    search_ns: int = 0  # at least so long from one search of a whole picture for faces to the next
    every: int = 1  # of a camera's pictures, each how-many-th is read
    batch: int | None = None  # the most faces in one call of a network
    visemes: bool = True  # whether the network of the voice may be in memory
    faces: bool = True  # whether cameras may run, and the networks of the face be in memory


EVERYTHING = Plan()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for the topic ``event``."""

    name: str
    details: Mapping[str, object] = field(default_factory=dict)

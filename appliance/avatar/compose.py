"""From what the face and the voice do to what the avatar does. Pure: memory in, memory out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from appliance import settings
from appliance.avatar import idle, neutral, smoothing
from appliance.avatar.channels import BLENDSHAPES, VISEMES
from appliance.avatar.fusion import Bond, anew, fuse, liveliest
from appliance.avatar.liveliness import enliven, excess
from appliance.avatar.mood import Mood, feel, read_mood
from appliance.avatar.neutral import Neutral
from appliance.avatar.orders import Orders, since
from appliance.avatar.sight import Sight, may_speak
from appliance.avatar.smoothing import Smoothed
from appliance.face import bones
from appliance.face.gaze import eye_look
from appliance.latest import Latest
from appliance.values import AvatarState, Expression, Face, Float32, Gaze, HeadPose, Stages, TrackingState, Voice

# One vector for everything that moves: 52 weights, rotation, position, gaze of both eyes, each
# divided by a typical span so that one pair of smoothing parameters serves all.
_SHAPES = slice(0, 52)
_ROTATION = slice(52, 56)
_POSITION = slice(56, 59)
_GAZE = slice(59, 63)
_SPAN = np.ones(63, np.float32)
_SPAN[_ROTATION] = 0.5  # a half turn of the quaternion's parts: 60 degrees
_SPAN[_POSITION] = 0.3  # metres
_SPAN[_GAZE] = 30.0  # degrees

_BLINKS = [BLENDSHAPES.index("eyeBlinkLeft"), BLENDSHAPES.index("eyeBlinkRight")]
_LOOKS = [index for index, name in enumerate(BLENDSHAPES) if name.startswith("eyeLook")]
_JAW = BLENDSHAPES.index("jawOpen")
_HASTE = np.ones(63, np.float32)
_HASTE[_BLINKS] = 3.0  # a blink lasts three pictures: it is filtered a third as much
_HASTE[_ROTATION] = _HASTE[_POSITION] = 3.0  # of many points, so steady by itself
_HASTE[_LOOKS] = _HASTE[_GAZE] = 0.5  # of few points; eyes rest or leap, and no filter is late on a leap

_REST = np.zeros(63, np.float32)
_REST[_ROTATION] = HeadPose().rotation
_REST[_POSITION] = HeadPose().position_m

_SILENCE = np.eye(len(VISEMES), dtype=np.float32)[VISEMES.index("sil")]


@dataclass(frozen=True, slots=True)
class Memory:
    """What one avatar remembers from picture to picture."""

    sequence: int = 0
    session: str = ""
    neutral: Neutral | None = None
    smoothed: Smoothed | None = None
    mood: Mood | None = None
    left: Float32 = field(default_factory=_REST.copy)  # the last values before the face went
    left_ns: int = 0
    bond: Bond = field(default_factory=Bond)


class Avatar:
    """Every avatar of the device: one memory a stream and slot."""

    def __init__(
        self, options: settings.Avatar, cameras: Sequence[settings.Camera], orders: Orders | None = None
    ) -> None:
        self._options = options
        self._orders = orders or Latest(())
        self._obeyed = 0  # the number of the last order that was carried out
        self._microphones = {camera.name: camera.microphone for camera in cameras}
        self._memories: dict[tuple[str, int], Memory] = {}
        self._alone: dict[str, tuple[int, int]] = {}  # microphones without a camera: since when, and their latest

    def compose(self, faces: Sequence[Face], voices: Mapping[str, Voice]) -> list[AvatarState]:
        """One state for every slot; and one for every microphone that belongs to no camera and has news."""
        self._obey()
        speakers = self._speakers(faces)
        states = [
            self._step(face, voices.get(self._microphones.get(face.camera, "")), (face.camera, face.slot) in speakers)
            for face in faces
        ]
        for name, voice in voices.items():
            since_ns, heard_ns = self._alone.get(name, (voice.heard_ns, 0))
            if name not in self._microphones.values() and voice.heard_ns > heard_ns:
                self._alone[name] = (since_ns, voice.heard_ns)
                states.append(self._step(_voice_alone(voice, since_ns), voice, True))
        return states

    def _speakers(self, faces: Sequence[Face]) -> set[tuple[str, int]]:
        """The one place of each camera that its voice may move: of several people, who moves the mouth."""
        speakers = set()
        for camera in {face.camera for face in faces}:
            bonds = {
                (camera, face.slot): self._bond(camera, face.slot)
                for face in faces
                if face.camera == camera and may_speak(_sight(face), self._bond(camera, face.slot).there_ns)
            }
            speakers |= {liveliest(bonds)} if bonds else set()
        return speakers

    def _bond(self, stream: str, slot: int) -> Bond:
        return self._memories.get((stream, slot), Memory()).bond

    def lags_ms(self) -> dict[str, float]:
        """By how much each microphone's sound was found to lag behind its camera's pictures; from any thread."""
        lags_ms: dict[str, float] = {}
        for (stream, _), memory in list(self._memories.items()):
            microphone = self._microphones.get(stream, "")
            if microphone and memory.bond.estimated_ns:
                lags_ms.setdefault(microphone, round(memory.bond.delay_s * 1e3, 1))
        return lags_ms

    def _obey(self) -> None:
        """Forget what operators say is to be learnt anew."""
        for order in since(self._orders.get(), self._obeyed):
            self._obeyed = order.number
            for (stream, slot), memory in self._memories.items():
                if order.concerns(stream, slot):
                    forgotten = replace(memory, neutral=None)
                    if order.name == "recalibrate":
                        forgotten = replace(forgotten, smoothed=None, mood=None, bond=Bond())
                    self._memories[stream, slot] = forgotten

    def _step(self, face: Face, voice: Voice | None, speaks: bool) -> AvatarState:
        key = (face.camera, face.slot)
        state, self._memories[key] = compose(self._memories.get(key, Memory()), face, voice, self._options, speaks)
        return state


def compose(
    memory: Memory, face: Face, voice: Voice | None, options: settings.Avatar, speaks: bool = True
) -> tuple[AvatarState, Memory]:
    """Turn one face and the voice before it into one avatar state; ``speaks``: whether the voice may be its own."""
    if face.session != memory.session:
        memory = replace(memory, session=face.session, neutral=None, bond=anew(memory.bond))
    if face.expression is not None:
        moved, memory = _live(memory, face, face.expression, options)
    else:
        moved, memory = _alone(memory, face, options)
    aroused = excess(voice.arousal, options.arousal) if voice and speaks else 0.0
    mood = feel(memory.mood, read_mood(np.clip(moved[_SHAPES], 0, 1), aroused), face.captured_ns)
    shapes, bond = fuse(memory.bond, moved[_SHAPES], _sight(face), voice, speaks, options.align)
    moved = np.concatenate([enliven(shapes, aroused), moved[_SHAPES.stop :]])
    memory = replace(memory, sequence=memory.sequence + 1, mood=mood, bond=bond)
    return _state(memory.sequence, face, voice, moved, mood), memory


def _sight(face: Face) -> Sight:
    if face.expression is None:
        return Sight(face.state, face.captured_ns)
    jaw = float(face.expression.blendshapes[_JAW])
    return Sight(face.state, face.captured_ns, face.confidence, face.expression.head, jaw)


def _live(memory: Memory, face: Face, expression: Expression, options: settings.Avatar) -> tuple[Float32, Memory]:
    at_ns = face.captured_ns
    measured = neutral.measure(expression.blendshapes, expression.gaze)
    well = bones.seen_well(expression.head, face.confidence)
    known = neutral.learn(memory.neutral or neutral.meet(at_ns), measured, at_ns, well)
    target = _gather(expression.head, *neutral.calibrate(measured, known))
    smoothed = _smooth(memory.smoothed, target / _SPAN, at_ns, options)
    moved = smoothed.value * _SPAN
    return moved, replace(memory, neutral=known, smoothed=smoothed, left=moved, left_ns=at_ns)


def _alone(memory: Memory, face: Face, options: settings.Avatar) -> tuple[Float32, Memory]:
    """Nobody moves the avatar: what it does is the setting ``avatar.idle``."""
    if options.idle == "freeze":
        return memory.left, memory
    gone_ns = face.captured_ns - memory.left_ns
    moved = memory.left.copy() if options.idle == "hold" else idle.relax(memory.left, _REST, gone_ns)
    if gone_ns > idle.RELAX_NS:
        lids = idle.blink(face.captured_ns, f"{face.camera}/{face.slot}")
        moved[_BLINKS] = np.maximum(moved[_BLINKS], np.float32(lids))
    return moved, replace(memory, smoothed=smoothing.start(moved / _SPAN, face.captured_ns))


def _smooth(past: Smoothed | None, value: Float32, at_ns: int, options: settings.Avatar) -> Smoothed:
    if past is None or options.smoothing == "none":
        return smoothing.start(value, at_ns)
    haste = np.float32(options.min_cutoff_hz) * _HASTE
    return smoothing.one_euro(past, value, at_ns, haste, np.float32(options.beta) * _HASTE)


def _gather(head: HeadPose, blendshapes: Float32, gaze: Gaze) -> Float32:
    """Everything that moves as one vector; the eyes' shapes are those of the calibrated gaze."""
    for name, weight in eye_look(gaze).items():
        blendshapes[BLENDSHAPES.index(name)] = weight
    rest = (*head.rotation, *head.position_m, *gaze.left_deg, *gaze.right_deg)
    return np.concatenate([blendshapes, np.asarray(rest, np.float32)])


def _state(sequence: int, face: Face, voice: Voice | None, moved: Float32, mood: Mood) -> AvatarState:
    rotation = moved[_ROTATION] / max(float(np.linalg.norm(moved[_ROTATION])), 1e-6)
    x, y, z, w = (float(part) for part in rotation)
    right, up, back = (float(part) for part in moved[_POSITION])
    gaze = [float(angle) for angle in moved[_GAZE]]
    blendshapes = np.clip(moved[_SHAPES], 0, 1)
    visemes = _SILENCE if voice is None or voice.visemes is None else voice.visemes
    return AvatarState(
        stream=face.camera,
        slot=face.slot,
        sequence=sequence,
        session=face.session,
        state=face.state,
        since_ns=face.since_ns,
        confidence=face.confidence,
        captured_ns=face.captured_ns,
        head=HeadPose((x, y, z, w), (right, up, back)),
        gaze=Gaze((gaze[0], gaze[1]), (gaze[2], gaze[3])),
        blendshapes=blendshapes,
        visemes=visemes,
        voice=voice or Voice("", face.captured_ns),
        mood=mood.weights,
        latency_ms={**face.latency_ms, **_listening_ms(voice)},
    )


def _listening_ms(voice: Voice | None) -> Stages:
    """How long listening took: what the network waits for, and from the last of that sound until it was understood."""
    if voice is None or voice.speech is None or not voice.ready_ns:
        return {}
    return {
        "lookahead": (voice.heard_ns - voice.speech.sure_ns) / 1e6,
        "listening": (voice.ready_ns - voice.heard_ns) / 1e6,
    }


def _voice_alone(voice: Voice, since_ns: int) -> Face:
    """The face that a microphone without a camera has: none."""
    return Face(
        camera=voice.microphone,
        slot=0,
        session="",
        state=TrackingState.VOICE,
        since_ns=since_ns,
        confidence=1.0 if voice.active else 0.0,
        captured_ns=voice.heard_ns,
        expression=None,
    )

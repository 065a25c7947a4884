"""Virtual Motion Capture Protocol: what EVMC4U, VSeeFace, Warudo, VNyan or Blender's VMC4B listen to.

The format is the public specification's (protocol.vmc.info, version 2.7): OSC over UDP, port 39539, in Unity's
left-handed axes. A frame is ``/VMC/Ext/OK``, ``T``, ``Root/Pos``, ``Bone/Pos`` of head and eyes, ``Blend/Val`` of
every shape and ``Blend/Apply``, in bundles that fit into one network packet each.

Bones are rotated only: their places belong to the avatar, which we do not know, so they are sent as 0 (in EVMC4U:
Bone Position Synchronize off).
"""

from collections.abc import Iterable, Iterator, Mapping

from appliance.avatar.channels import BLENDSHAPES, MOODS
from appliance.publish.wire import WireFrame
from appliance.renderers.bridges import osc
from appliance.renderers.bridges.pose import FOUND, Quaternion, eye_rotation, in_unity
from appliance.values import TrackingState

PORT = 39539
NAMES = ("perfect-sync", "arkit", "vrm")
PACKET_BYTES = 1400

_CALIBRATING, _CALIBRATED = 2, 3
_NORMAL_MODE = 0
_NO_TURN: Quaternion = (0.0, 0.0, 0.0, 1.0)


class Vmc:
    """A Performer of VMC: says frames to a Marionette.

    ``names`` are those of the avatar's shapes: ``perfect-sync`` (BrowInnerUp, what VRM files for 52 shapes
    use), ``arkit`` (browInnerUp), or ``vrm``: an avatar that has the presets of VRM alone.
    """

    def __init__(self, names: str = "perfect-sync") -> None:
        self._names = names
        self._began_ns = 0

    def datagrams(self, frame: WireFrame) -> list[bytes]:
        """Return one frame's packets, in order."""
        self._began_ns = self._began_ns or frame.captured_ns
        return list(osc.bundles(self._messages(frame), PACKET_BYTES))

    def silence(self) -> list[bytes]:
        """Return what says that nothing is sent: an avatar not loaded, not tracked."""
        return list(osc.bundles([osc.message("/VMC/Ext/OK", 0, 0, _NORMAL_MODE, 0)], PACKET_BYTES))

    def _messages(self, frame: WireFrame) -> Iterator[bytes]:
        calibration = _CALIBRATING if frame.state is TrackingState.ACQUIRING else _CALIBRATED
        yield osc.message("/VMC/Ext/OK", 1, calibration, _NORMAL_MODE, int(frame.state in FOUND))
        yield osc.message("/VMC/Ext/T", (frame.captured_ns - self._began_ns) / 1e9)
        yield _placed("/VMC/Ext/Root/Pos", "root", _NO_TURN)
        yield _placed("/VMC/Ext/Bone/Pos", "Head", in_unity(frame.head.rotation))
        yield _placed("/VMC/Ext/Bone/Pos", "LeftEye", in_unity(eye_rotation(frame.gaze.left_deg)))
        yield _placed("/VMC/Ext/Bone/Pos", "RightEye", in_unity(eye_rotation(frame.gaze.right_deg)))
        for name, weight in self._shapes(frame):
            yield osc.message("/VMC/Ext/Blend/Val", name, float(weight))
        yield osc.message("/VMC/Ext/Blend/Apply")

    def _shapes(self, frame: WireFrame) -> Iterable[tuple[str, float]]:
        weights = dict(zip(BLENDSHAPES, frame.blendshapes.tolist(), strict=True))
        if self._names == "vrm":
            return presets(weights, dict(zip(MOODS, frame.mood.tolist(), strict=True))).items()
        if self._names == "arkit":
            return weights.items()
        return ((name[0].upper() + name[1:], weight) for name, weight in weights.items())


def presets(weights: Mapping[str, float], mood: Mapping[str, float]) -> dict[str, float]:
    """Return weights of VRM 0's presets from ARKit's: as near as five vowels, two lids and three moods come."""
    jaw, rounding = weights["jawOpen"], max(weights["mouthFunnel"], weights["mouthPucker"])
    spread = max(weights["mouthStretchLeft"], weights["mouthStretchRight"])
    return {
        "A": jaw * (1 - rounding) * (1 - spread),
        "I": (1 - jaw) * spread * (1 - rounding),
        "U": (1 - jaw) * rounding,
        "E": jaw * spread * (1 - rounding),
        "O": jaw * rounding,
        "Blink_L": weights["eyeBlinkLeft"],
        "Blink_R": weights["eyeBlinkRight"],
        "Joy": mood["happy"],
        "Angry": mood["angry"],
        "Sorrow": mood["sad"],
    }


def _placed(address: str, name: str, rotation: Quaternion) -> bytes:
    return osc.message(address, name, 0.0, 0.0, 0.0, *rotation)

"""iFacialMocap: the text that the iPhone app of that name sends, and what VSeeFace, VMagicMirror or VBridger read.

The format is the app's public one (ifacialmocap.com/for-developer): UDP, port 49983, one line a frame,
``NAME-0..100|...|=head#X,Y,Z,PX,PY,PZ|rightEye#X,Y,Z|leftEye#X,Y,Z|``; version 2 has ``&`` for ``-``. Angles are
degrees in the face's right-handed axes, as its published example shows by its eyes: X + looks down, Y + turns to
the person's left; positions are metres from the camera, as on the wire.
"""

import socket

from appliance.avatar.channels import BLENDSHAPES
from appliance.errors import ApplianceError
from appliance.publish.wire import WireFrame
from appliance.renderers.bridges.pose import angles_deg, eye_angles_deg
from appliance.renderers.bridges.pump import Datagrams

PORT = 49983
HELLO = b"iFacialMocap_sahuasouryya9218sauhuiayeta91555dy3719"
"""What a receiver sends to the phone to be sent frames; it is answered on port 49983."""
VERSION_2 = b"|sendDataVersion=v2"

_WHOLE_NAMES = ("jawLeft", "jawRight", "mouthLeft", "mouthRight")
_MOST_HELLOS = 16


def _name(name: str) -> str:
    if name in _WHOLE_NAMES:
        return name
    if name.endswith("Left"):
        return f"{name[:-4]}_L"
    return f"{name[:-5]}_R" if name.endswith("Right") else name


NAMES = tuple(map(_name, BLENDSHAPES))


class IFacialMocap:
    """Says frames as the app does. ``version`` 1 or 2; a receiver's own wish, in its hello, goes before."""

    def __init__(self, version: int = 1) -> None:
        self.version = version

    def datagrams(self, frame: WireFrame) -> list[bytes]:
        """Return one frame's line."""
        sign = "-" if self.version == 1 else "&"
        shapes = "".join(
            f"{name}{sign}{round(100 * weight)}|"
            for name, weight in zip(NAMES, frame.blendshapes.tolist(), strict=True)
        )
        head = _numbers(*angles_deg(frame.head.rotation), *frame.head.position_m)
        right, left = (_numbers(*eye_angles_deg(gaze), 0.0) for gaze in (frame.gaze.right_deg, frame.gaze.left_deg))
        return [f"{shapes}=head#{head}|rightEye#{right}|leftEye#{left}|".encode("ascii")]

    def silence(self) -> list[bytes]:
        """Return nothing: the app, too, only stops."""
        return []


class Phone:
    """Pretends to be the phone: says frames to whoever last greeted it, in the version that was asked for."""

    def __init__(self, speaker: IFacialMocap, datagrams: Datagrams, port: int, unasked: bool) -> None:
        """``unasked``: say frames before anybody greets, too. Raise ``ApplianceError`` where the port is taken."""
        self._speaker, self._datagrams, self._says = speaker, datagrams, unasked
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind(("", port))
        except OSError as error:
            raise ApplianceError(f"cannot listen on UDP port {port}: {error.strerror}; see --listen") from None
        self.port = int(self._socket.getsockname()[1])

    async def show(self, frame: WireFrame) -> None:
        """Say one frame."""
        self._hear()
        if self._says:
            await self._datagrams.show(frame)

    async def silence(self) -> None:
        """Say nothing, but hear who greets."""
        self._hear()

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()

    def _hear(self) -> None:
        for _ in range(_MOST_HELLOS):
            try:
                said, (host, *_rest) = self._socket.recvfrom(2048)
            except OSError:  # nobody, or somebody we sent to before is gone
                return
            if said.startswith(HELLO):
                self._speaker.version = 2 if said[len(HELLO) :].startswith(VERSION_2) else 1
                self._datagrams.turn_to(str(host))
                self._says = True


def _numbers(*values: float) -> str:
    return ",".join(f"{round(value, 4) + 0.0:.4f}" for value in values)  # + 0.0: never "-0.0000"

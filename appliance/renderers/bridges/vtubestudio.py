"""VTube Studio: its public plug-in API, a WebSocket with a token that the user grants by a click.

Version 1.0 of the API (github.com/DenchiSoft/VTubeStudio). The plug-in asks for a token once and keeps it in a file
of mode 0600, creates one custom parameter for each of the 52 shapes (``ArkitJawOpen``), and injects them with
VTube Studio's own parameters in one request a frame. ``faceFound`` says whether somebody is there, so that VTube
Studio plays its own animation of a lost face. It takes control back by itself one second after the last request.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from appliance.avatar.channels import BLENDSHAPES
from appliance.errors import ApplianceError
from appliance.publish.wire import WireFrame
from appliance.renderers.bridges.pose import FOUND, angles_deg, eye_angles_deg

log = logging.getLogger(__name__)

PORT = 8001
PLUGIN = {"pluginName": "Avatar Appliance", "pluginDeveloper": "avatar-appliance"}
ANSWER_S = 10.0
CLICK_S = 120.0
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 8.0
NOT_LET_IN, DENIED = 8, 50  # error numbers: of a session that is not authenticated, of a user who said no

_EYE_RANGE_DEG = 30.0
_CM = 100.0
_USUAL_M = 0.6

Fields = dict[str, Any]


def custom_name(shape: str) -> str:
    """Return the custom parameter of an ARKit shape: letters alone, 4 to 32, ours by its beginning."""
    return f"Arkit{shape[0].upper()}{shape[1:]}"


def parameters(frame: WireFrame) -> dict[str, float]:
    """Return VTube Studio's own tracking parameters and ours, in its ranges: degrees, -1..1, 0..1.

    Its X is the screen's: + turns, tilts and looks to the right of the screen, which is the avatar's own left.
    Positions are in centimetres, to the right, up, and nearer than 60 cm.
    """
    shapes = dict(zip(BLENDSHAPES, frame.blendshapes.tolist(), strict=True))
    pitch_deg, yaw_deg, roll_deg = angles_deg(frame.head.rotation)
    x_m, y_m, z_m = frame.head.position_m
    left_pitch, left_yaw = (angle / _EYE_RANGE_DEG for angle in eye_angles_deg(frame.gaze.left_deg))
    right_pitch, right_yaw = (angle / _EYE_RANGE_DEG for angle in eye_angles_deg(frame.gaze.right_deg))
    brows = {side: _brow(shapes, side) for side in ("Left", "Right")}
    smile = (shapes["mouthSmileLeft"] + shapes["mouthSmileRight"]) / 2
    frown = (shapes["mouthFrownLeft"] + shapes["mouthFrownRight"]) / 2
    return {
        "FaceAngleX": yaw_deg,
        "FaceAngleY": -pitch_deg,
        "FaceAngleZ": -roll_deg,
        "FacePositionX": _CM * x_m,
        "FacePositionY": _CM * y_m,
        "FacePositionZ": _CM * (z_m + _USUAL_M),
        "MouthOpen": max(0.0, shapes["jawOpen"] - shapes["mouthClose"]),
        "MouthSmile": _within(0.5 + (smile - frown) / 2, 0.0),
        "MouthX": shapes["mouthLeft"] - shapes["mouthRight"],
        "Brows": (brows["Left"] + brows["Right"]) / 2,
        "BrowLeftY": brows["Left"],
        "BrowRightY": brows["Right"],
        "EyeOpenLeft": 1 - shapes["eyeBlinkLeft"],
        "EyeOpenRight": 1 - shapes["eyeBlinkRight"],
        "EyeLeftX": _within(left_yaw),
        "EyeLeftY": _within(-left_pitch),
        "EyeRightX": _within(right_yaw),
        "EyeRightY": _within(-right_pitch),
        "CheekPuff": shapes["cheekPuff"],
        "TongueOut": shapes["tongueOut"],
        **{custom_name(name): weight for name, weight in shapes.items()},
    }


def _brow(shapes: Mapping[str, float], side: str) -> float:
    raised = max(shapes["browInnerUp"], shapes[f"browOuterUp{side}"])
    return _within(0.5 + (raised - shapes[f"browDown{side}"]) / 2, 0.0)


def _within(value: float, low: float = -1.0) -> float:
    return min(1.0, max(low, value))


class RefusedError(Exception):
    """VTube Studio answered with an error."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.error_id = fields.get("errorID")
        super().__init__(f"VTube Studio refuses ({self.error_id}): {fields.get('message', 'no reason given')}")


class VTubeStudio:
    """Injects frames, connected for ever; a frame that finds no connection is dropped. Use it as a context."""

    def __init__(self, url: str, token_file: Path) -> None:
        self._url, self._token_file = url, token_file
        self._socket: aiohttp.ClientWebSocketResponse[bool] | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Fields]] = {}
        self._ready = False
        self._problem = ""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "VTubeStudio":
        self._task = asyncio.create_task(self._keep_up())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def show(self, frame: WireFrame) -> None:
        """Inject one frame; its answer is looked at when it comes."""
        await self._inject({"faceFound": frame.state in FOUND, "mode": "set"}, parameters(frame))

    async def silence(self) -> None:
        """Say nothing: after a second VTube Studio takes control back by itself."""
        if self._task is not None and self._task.done():
            self._task.result()

    async def _inject(self, data: Fields, values: Mapping[str, float]) -> None:
        if self._task is not None and self._task.done():
            self._task.result()  # what ended it is for the operator
        if not self._ready or self._socket is None:
            return
        data["parameterValues"] = [{"id": name, "value": round(value, 4)} for name, value in values.items()]
        with contextlib.suppress(ConnectionError):  # it went while we spoke; the reader sees it, too
            await self._socket.send_str(_request("frame", "InjectParameterDataRequest", data))

    async def _keep_up(self) -> None:
        """Connect, be let in, read answers, for ever; ends by ``ApplianceError`` where the user said no."""
        pause_s = FIRST_PAUSE_S
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.ws_connect(self._url, timeout=aiohttp.ClientWSTimeout(ws_close=1.0)) as made:
                        await self._serve(made)
                        pause_s = FIRST_PAUSE_S
                except RefusedError as error:
                    self._report(str(error))
                except asyncio.TimeoutError:
                    self._report(f"VTube Studio at {self._url} does not answer")
                except (aiohttp.ClientError, OSError) as error:
                    self._report(f"VTube Studio at {self._url} cannot be reached ({error}); is its API switched on?")
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)

    async def _serve(self, made: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        self._socket = made
        reading = asyncio.create_task(self._read(made))
        try:
            await self._enter()
            self._ready, self._problem = True, ""
            log.info("connected to VTube Studio at %s", self._url)
            await reading
        finally:
            self._ready, self._socket = False, None
            reading.cancel()
        self._report("VTube Studio closed the connection")

    async def _enter(self) -> None:
        token = read_token(self._token_file)
        if not token or not await self._authenticate(token):
            token = await self._ask_for_token()
            write_token(self._token_file, token)
            if not await self._authenticate(token):
                raise ApplianceError("VTube Studio granted a token and does not take it; remove the plug-in there")
        for shape in BLENDSHAPES:
            about = f"ARKit {shape}, 0 to 1"
            data = {"parameterName": custom_name(shape), "explanation": about, "min": 0, "max": 1, "defaultValue": 0}
            await self._ask("ParameterCreationRequest", data)

    async def _authenticate(self, token: str) -> bool:
        answer = await self._ask("AuthenticationRequest", {**PLUGIN, "authenticationToken": token})
        return answer.get("authenticated") is True

    async def _ask_for_token(self) -> str:
        print("VTube Studio asks whether Avatar Appliance may control it: click Allow there", flush=True)
        try:
            answer = await self._ask("AuthenticationTokenRequest", PLUGIN, CLICK_S)
        except RefusedError as error:
            if error.error_id == DENIED:
                raise ApplianceError("VTube Studio's user denied access; start the bridge again, click Allow") from None
            raise
        return str(answer.get("authenticationToken", ""))

    async def _ask(self, kind: str, data: Mapping[str, Any], limit_s: float = ANSWER_S) -> Fields:
        """Ask one thing and return its answer's data; ``RefusedError`` where it is an error."""
        name = f"avatar-{next(self._numbers)}"
        self._waiting[name] = asyncio.get_running_loop().create_future()
        try:
            if self._socket is None:
                raise ConnectionError("closed")
            await self._socket.send_str(_request(name, kind, data))
            return await asyncio.wait_for(self._waiting[name], limit_s)
        finally:
            del self._waiting[name]

    async def _read(self, made: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        """Hand each answer to who asked, until the connection ends; whoever still waits then is told."""
        async for message in made:
            if message.type is aiohttp.WSMsgType.TEXT and not self._take(str(message.data)):
                break
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("VTube Studio closed the connection"))

    def _take(self, text: str) -> bool:
        """Hand one answer to who asked; ``False`` where it says that we must ask to be let in again."""
        try:
            answer = json.loads(text)
            kind, name, data = answer["messageType"], answer.get("requestID", ""), answer.get("data") or {}
        except (ValueError, KeyError, TypeError, AttributeError):
            log.debug("VTube Studio said what is no answer: %.80s", text)
            return True
        error = RefusedError(data) if kind == "APIError" else None
        waiting = self._waiting.get(name)
        if waiting is not None and not waiting.done():
            waiting.set_exception(error) if error else waiting.set_result(data)
        elif waiting is None and error is not None:
            self._report(str(error))
            return error.error_id not in (NOT_LET_IN, DENIED)
        return True

    def _report(self, problem: str) -> None:
        """Log a problem when it is news: it may come with each frame."""
        if problem != self._problem:
            log.warning("%s", problem)
        self._problem = problem


def read_token(path: Path) -> str:
    """Return the token kept in a file; empty where there is none."""
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            log.warning("%s can be read by others; chmod 600 %s", path, path)
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ApplianceError(f"the token in {path} cannot be read: {error}; see --token-file") from None


def write_token(path: Path, token: str) -> None:
    """Keep a token in a file that only its owner may read, from the first byte on."""
    aside = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(token)
        aside.rename(path)
    except OSError as error:
        raise ApplianceError(f"the token cannot be kept in {path}: {error.strerror}; see --token-file") from None


def _request(name: str, kind: str, data: Mapping[str, Any]) -> str:
    head = {"apiName": "VTubeStudioPublicAPI", "apiVersion": "1.0", "requestID": name, "messageType": kind}
    return json.dumps({**head, "data": data}, separators=(",", ":"))

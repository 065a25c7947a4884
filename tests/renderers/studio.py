"""A small VTube Studio, as far as its public API text describes what a plug-in meets."""

import asyncio
import json
import threading
import time
from typing import Any

from aiohttp import WSMsgType, web

OWN_PARAMETERS = {
    *("FacePositionX", "FacePositionY", "FacePositionZ", "FaceAngleX", "FaceAngleY", "FaceAngleZ", "MouthSmile"),
    *("MouthOpen", "Brows", "MousePositionX", "MousePositionY", "TongueOut", "EyeOpenLeft", "EyeOpenRight"),
    *("EyeLeftX", "EyeLeftY", "EyeRightX", "EyeRightY", "CheekPuff", "BrowLeftY", "BrowRightY", "MouthX"),
    *("VoiceFrequency", "VoiceVolume", "VoiceVolumePlusMouthOpen", "VoiceFrequencyPlusMouthSmile", "FaceAngry"),
}
LIMIT = 1_000_000
TOKEN = "adcd-123-ef09-some-token-string-abcd"


class ApiError(Exception):
    def __init__(self, error_id: int, message: str) -> None:
        super().__init__(message)
        self.error_id = error_id


class Studio:
    """Serves on a port of its own, in a thread; ``injected`` are the requests that fed it, with their moments."""

    def __init__(self, allows: bool = True, port: int = 0) -> None:
        self.allows = allows
        self.token = ""
        self.asked: list[str] = []
        self.injected: list[tuple[float, dict[str, Any]]] = []
        self.errors: list[str] = []
        self.created: dict[str, dict[str, Any]] = {}
        self.port = port
        self._sockets: set[web.WebSocketResponse] = set()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def revoke(self) -> None:
        """The user takes the permission back: everything asked from now on is refused."""
        self.token = ""

    def hang_up(self) -> None:
        for each in list(self._sockets):
            asyncio.run_coroutine_threadsafe(each.close(), self._loop).result(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        app = web.Application()
        app.router.add_get("/", self._talk)
        runner = web.AppRunner(app, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        for each in list(self._sockets):
            await each.close()
        await runner.cleanup()

    async def _talk(self, request: web.Request) -> web.WebSocketResponse:
        talk = web.WebSocketResponse()
        await talk.prepare(request)
        self._sockets.add(talk)
        session = {"authenticated": False}
        async for message in talk:
            if message.type is WSMsgType.TEXT:
                await talk.send_str(json.dumps(self._answer(json.loads(message.data), session)))
        self._sockets.discard(talk)
        return talk

    def _answer(self, asked: dict[str, Any], session: dict[str, bool]) -> dict[str, Any]:
        kind, name = asked["messageType"], asked["requestID"]
        assert (asked["apiName"], asked["apiVersion"]) == ("VTubeStudioPublicAPI", "1.0")
        assert 1 <= len(name) <= 64
        assert name.isascii()
        head = {"apiName": "VTubeStudioPublicAPI", "apiVersion": "1.0", "timestamp": 1625405710728, "requestID": name}
        try:
            data = getattr(self, f"_{kind}")(asked["data"], session)
        except ApiError as error:
            self.errors.append(str(error))
            data = {"errorID": error.error_id, "message": str(error)}
            return {**head, "messageType": "APIError", "data": data}
        return {**head, "messageType": kind.replace("Request", "Response"), "data": data}

    def _AuthenticationTokenRequest(self, data: dict[str, Any], _session: dict[str, bool]) -> dict[str, Any]:
        self.asked.append("token")
        assert 3 <= len(data["pluginName"]) <= 32
        assert 3 <= len(data["pluginDeveloper"]) <= 32
        if not self.allows:
            raise ApiError(50, "User has denied API access for your plugin.")
        self.token = f"{TOKEN}-{len(self.asked)}"
        return {"authenticationToken": self.token}

    def _AuthenticationRequest(self, data: dict[str, Any], session: dict[str, bool]) -> dict[str, Any]:
        session["authenticated"] = bool(self.token) and data["authenticationToken"] == self.token
        self.asked.append("in" if session["authenticated"] else "out")
        return {"authenticated": session["authenticated"], "reason": ""}

    def _ParameterCreationRequest(self, data: dict[str, Any], session: dict[str, bool]) -> dict[str, Any]:
        self._check_in(session)
        name = data["parameterName"]
        if not (name.isalnum() and 4 <= len(name) <= 32) or name in OWN_PARAMETERS or len(data["explanation"]) > 255:
            raise ApiError(350, "parameter name invalid")
        if name not in self.created and len(self.created) >= 100:
            raise ApiError(353, "too many parameters of this plugin")
        self.created[name] = data
        return {"parameterName": name}

    def _InjectParameterDataRequest(self, data: dict[str, Any], session: dict[str, bool]) -> dict[str, Any]:
        self._check_in(session)
        assert data["mode"] in ("set", "add")
        assert isinstance(data["faceFound"], bool)
        for value in data["parameterValues"]:
            if value["id"] not in OWN_PARAMETERS | self.created.keys():
                raise ApiError(451, f"parameter {value['id']} not found")
            if not -LIMIT <= value["value"] <= LIMIT or not 0 <= value.get("weight", 1) <= 1:
                raise ApiError(450, "value out of range")
        self.injected.append((time.monotonic(), data))
        return {}

    def _check_in(self, session: dict[str, bool]) -> None:
        if not session["authenticated"] or not self.token:
            raise ApiError(8, "This request requires authentication.")

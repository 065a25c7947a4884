"""A real browser, driven over the DevTools protocol."""

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

T = TypeVar("T")
START_S = 30.0
ANSWER_S = 30.0
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card, for files of our own
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1100,640",
)
TOOLS = """
window.settle = async (frame) => {
  avatar.apply(frame);
  const since = (await avatar.picture()).drawn;
  let last;
  do {
    avatar.apply(frame); // a busy machine may need a second for a picture, and must not find the avatar asleep
    last = await avatar.picture();
  } while (last.drawn < since + 2);
  const look = new OffscreenCanvas(640, 640).getContext("2d", { willReadFrequently: true });
  const { width, height } = last.picture;
  look.drawImage(last.picture, (width - height) / 2, 0, height, height, 0, 0, 640, 640);
  return look.getImageData(0, 0, 640, 640).data;
};
window.dropped = (name, letters) => {
  const held = new DataTransfer();
  held.items.add(new File([Uint8Array.from(letters, (letter) => letter.charCodeAt(0))], name));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true }));
};
window.changed = (a, b, from = 0, to = 640) => {
  let count = 0;
  for (let i = 0; i < a.length; i += 4) {
    const x = (i / 4) % 640;
    if (x < from || x >= to) continue;
    let most = 0;
    for (let k = i; k < i + 4; k++) most = Math.max(most, Math.abs(a[k] - b[k]));
    if (most > 24) count += 1;
  }
  return count;
};
"""
"""What a test asks the page: the pixels that a frame comes to, how many differ, a file to be dropped."""


class Browser:
    """One page of a headless Chromium, and what it complained about."""

    def __init__(self, profile: Path) -> None:
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        assert program, "these tests need chromium: apt-get install chromium"
        self.profile = profile
        self.session: str | None = None  # whom calls go to: the page, or a worker that was attached to
        self.complaints: list[str] = []
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        arguments = [*QUIET, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        self._process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._run(self._attach(profile / "DevToolsActivePort"))
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser for one thing and wait for the answer."""
        return self._run(self._call(method, parameters))

    def evaluate(self, script: str) -> Any:
        """The value of a script in the page; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        """Go to a page and wait until it draws."""
        self.call("Page.navigate", url=url)
        self.wait("window.avatar?.drawn > 2")

    def drop(self, name: str, content: bytes) -> None:
        """Drop a file on the page."""
        body = base64.b64encode(content).decode()
        self.evaluate(f"dropped({json.dumps(name)}, atob('{body}'))")

    def show(self, url: str) -> None:
        """Open a page unless it is open."""
        if self.evaluate("location.href") != url:
            self.open(url)

    def wait(self, condition: str) -> None:
        """Wait until a condition holds in the page."""
        deadline_s = time.monotonic() + ANSWER_S
        while not self.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < deadline_s, f"never true in the page: {condition}; {self.complaints}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")

    def close(self) -> None:
        """End the browser."""
        self._run(self._session.close())
        self._loop.close()
        self._process.terminate()
        self._process.wait(ANSWER_S)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(work, START_S + ANSWER_S))

    async def _attach(self, announced: Path) -> None:
        deadline_s = time.monotonic() + START_S
        while not (announced.exists() and announced.read_text().strip()):
            assert self._process.poll() is None, f"chromium ended with {self._process.returncode}"
            assert time.monotonic() < deadline_s, "chromium does not start"
            await asyncio.sleep(0.05)
        port = announced.read_text().split()[0]
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            page = next(target for target in await answer.json() if target["type"] == "page")
        self._socket = await self._session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_str(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while True:
            answer = json.loads(await self._socket.receive_str(timeout=ANSWER_S))
            self._listen(answer)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def _listen(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))
        elif message.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(parameters["args"]))
        elif message.get("method") == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(json.dumps(parameters["entry"]))

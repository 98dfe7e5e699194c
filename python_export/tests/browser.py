"""A page in headless Chromium, driven by its protocol for developers' tools.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiohttp

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--remote-debugging-port=0",
)


def chromium() -> str | None:
    """The browser, if there is one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """A page, of this width and height in pixels. What its scripts log as errors is kept."""

    def __init__(self, program: str, profile: Path, width: int, height: int) -> None:
        size = f"--window-size={width},{height}"
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", size, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.errors: list[str] = []
        for line in self._process.stderr:  # it says where it listens
            if line.startswith("DevTools listening on "):
                self._port = line.split(":")[2].split("/")[0]
                break

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, url: str, script: str) -> Any:
        """What a script returns on the page at url; it may be a promise."""
        return asyncio.run(asyncio.wait_for(self._run(url, script), timeout=60))

    async def _run(self, url: str, script: str) -> Any:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{self._port}/json") as response:
                pages = [page for page in await response.json() if page["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                for method in ("Page.enable", "Runtime.enable", "Log.enable"):
                    await self._call(socket, method)
                await self._call(socket, "Emulation.setDeviceMetricsOverride", **self._size)
                await self._call(socket, "Page.navigate", url=url)
                result = await self._call(
                    socket, "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
                )
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    async def _call(self, socket: aiohttp.ClientWebSocketResponse, method: str, **parameters: object) -> dict:
        await socket.send_json({"id": 1, "method": method, "params": parameters})
        async for message in socket:
            said = json.loads(message.data)
            if said.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(said["params"]["exceptionDetails"]))
            if said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.errors.append(said["params"]["entry"]["text"])
            if said.get("id") == 1:
                return said["result"]
            if said.get("method") == "Page.loadEventFired" and method == "Page.navigate":
                continue
        raise RuntimeError("the browser has closed the connection")

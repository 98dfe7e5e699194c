"""The page of residual serve in a real browser."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .browser import Page, chromium
from .conftest import ROOT
from .helpers import free_port

MODELS = ROOT / "build" / "test-models"
READY = """
    const until = async (what) => {
        for (let i = 0; i < 600; i++) {
            const found = what();
            if (found) return found;
            await new Promise(done => setTimeout(done, 50));
        }
        throw new Error("not in time: " + what);
    };
    const one = query => document.querySelector(query);
    const choose = files => {  // as a person does
        const list = new DataTransfer();
        for (const [name, type, data] of files)
            list.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], name, { type }));
        one("#files").files = list.files;
        one("#files").dispatchEvent(new Event("change"));
    };
"""

pytestmark = pytest.mark.skipif(chromium() is None, reason="there is no Chromium here")


@pytest.fixture(scope="module", params=["", "secret"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Where a server of two models answers, and its token."""
    token, port = request.param, free_port()
    command = [ROOT / "bin" / "residual", "serve", "--model", MODELS / "small", "--model", MODELS / "pets"]
    command += ["--port", str(port), "--grpc-port", "0", "--json", "--drain-delay", "0s"]
    if token:
        file = tmp_path_factory.mktemp("token") / "token"
        file.write_text(token)
        command += ["--token-file", file]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert json.loads(process.stdout.readline())["http"] == f"http://127.0.0.1:{port}"
    yield f"http://127.0.0.1:{port}/", token
    process.terminate()
    assert process.wait(timeout=60) == 0


def picture(format: str, side: int) -> str:
    file = BytesIO()
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(file, format)
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(("width", "height"), [(1100, 800), (390, 844)])
def test_the_page(served: tuple[str, str], tmp_path: Path, width: int, height: int) -> None:
    url, token = served
    files = [
        ("a <b>.png", "image/png", picture("PNG", 40)),
        ("c.jpg", "image/jpeg", picture("JPEG", 200)),
        ("d.txt", "text/plain", base64.b64encode(b"no picture").decode()),
    ]
    script = f"""(async () => {{
        {READY}
        await until(() => document.readyState === "complete" && location.href === {json.dumps(url)});
        if ({json.dumps(token)}) {{
            await until(() => !one("#token").hidden);
            one("#secret").value = {json.dumps(token)};
            one("#token button").click();
        }}
        await until(() => one("#health.good"));
        await until(() => one("#model").options.length === 2);
        one("#model").value = [...one("#model").options].find(o => o.textContent.startsWith("pets")).value;
        one("#model").dispatchEvent(new Event("change"));
        choose({json.dumps(files)});
        await until(() => document.querySelectorAll("article ol").length === 2 && one("article p.bad"));
        await until(() => one("#total").textContent);
        return {{
            health: one("#health").textContent,
            total: one("#total").textContent,
            curl: one("#curl").textContent,
            wide: document.documentElement.scrollWidth > innerWidth,
            cards: [...document.querySelectorAll("article")].map(card => ({{
                name: card.querySelector("h2").textContent,
                state: card.querySelector("p").textContent,
                classes: [...card.querySelectorAll("li")].map(row => row.children[0].textContent),
                percent: [...card.querySelectorAll("li")].map(row => parseFloat(row.children[1].textContent)),
                bars: [...card.querySelectorAll("b")].map(bar => parseFloat(bar.style.width)),
                image: card.querySelector("img") !== null,
            }})),
        }};
    }})()"""
    page = Page(chromium(), tmp_path / "profile", width, height)
    try:
        found = page.run(url, script)
    finally:
        page.close()
    assert found["health"] == "ready"
    assert found["total"].startswith("2 of 3 images in ")
    assert "/v1/models/pets:classify" in found["curl"]
    assert ("Authorization" in found["curl"]) == bool(token)
    assert not found["wide"], "the page is wider than the window"
    cards = {card["name"]: card for card in found["cards"]}
    assert set(cards) == {"a <b>.png", "c.jpg", "d.txt"}
    assert "not a JPEG or PNG" in cards["d.txt"]["state"]
    assert not cards["d.txt"]["image"]
    for name in ("a <b>.png", "c.jpg"):
        card = cards[name]
        assert "pets, version 1" in card["state"]
        assert sorted(card["classes"]) == ["cat", "dog"]
        assert sum(card["percent"]) == pytest.approx(100, abs=0.2)
        assert card["bars"] == pytest.approx(card["percent"], abs=0.1)
    refused = [
        error for error in page.errors if "status of 401" not in error and "status of 400" not in error
    ]
    assert refused == []

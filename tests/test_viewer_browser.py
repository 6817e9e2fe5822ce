"""A person's whole session in a real browser: open, paint, see the first prediction, correct, undo, close, open again.

Debian's Chromium is driven by Playwright. With CONTRACTILE_SCREENSHOTS=FOLDER each stage is kept as a picture.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from contractile.images import read_labels
from contractile.synthetic import SceneConfig, draw_scene

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")

PATIENCE_MS = 240_000  # the learner is slow where the machine does other things
SHAPE = (160, 200)


@dataclass
class Visit:
    """A page that is open, and what it did that it must not do."""

    page: Any
    complaints: list[str] = field(default_factory=list)

    def see(self, words: str, within: str = "body") -> None:
        """Wait until words are there."""
        playwright.expect(self.page.locator(within)).to_contain_text(re.compile(words), timeout=PATIENCE_MS)

    def see_image(self, words: str) -> None:
        """Wait until the list of images says so."""
        row = self.page.get_by_role("button", name=re.compile(words))
        playwright.expect(row).to_be_visible(timeout=PATIENCE_MS)

    def place(self, y: float, x: float) -> tuple[float, float]:
        """Where a pixel of the image is on the screen: the image is shown as a whole, in the middle of the stage."""
        box = self.page.locator("#overlay").bounding_box()
        match = re.search(r"[\d.]+", self.page.locator("#scale").inner_text())
        assert match
        zoom = float(match[0]) / 100
        left = box["x"] + (box["width"] - SHAPE[1] * zoom) / 2
        top = box["y"] + (box["height"] - SHAPE[0] * zoom) / 2
        return left + (x + 0.5) * zoom, top + (y + 0.5) * zoom

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Draw along pixels (y, x) of the image."""
        mouse = self.page.mouse
        mouse.move(*self.place(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.place(*point), steps=3)
        mouse.up()

    def keep(self, name: str) -> None:
        """Keep a picture of the page, where somebody wants to look at it."""
        folder = os.environ.get("CONTRACTILE_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[np.int32]]:
    """A folder with two images, and the truth of the first."""
    folder = tmp_path_factory.mktemp("cells")
    truths = []
    for name in ("first", "second"):
        config = SceneConfig(shape=SHAPE, radius=14, coverage=0.3)
        pixels, truth = draw_scene(config, np.random.default_rng(len(name)))
        tifffile.imwrite(folder / f"{name}.tif", pixels[0].clip(0, 2**16 - 1).astype(np.uint16))
        truths.append(truth)
    return folder, truths[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        opened = running.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


class Served:
    """`contractile view` in a process of its own."""

    def __init__(self, images: Path, out: Path) -> None:
        words = [sys.executable, "-m", "contractile.cli", "view", str(images), "--out", str(out), "--no-browser"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        self.address = ""
        for line in self.process.stdout:
            found = re.search(r"http://\S+", line)
            if found:
                self.address = found[0]
                break
        assert self.address, "the page did not say where it is"

    def visit(self, browser: Any) -> Visit:
        visit = Visit(browser.new_page(viewport={"width": 1280, "height": 860}))
        page, host = visit.page, self.address.partition("?")[0]
        page.on("console", lambda said: visit.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith((host, "blob:", "data:")) else visit.complaints.append(asked.url)
            ),
        )
        page.goto(self.address)
        visit.see("first", "#image-name")
        visit.see("%", "#scale")
        return visit

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


def outline(mask: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Points around an object, in order."""
    y, x = np.nonzero(mask)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    middle = y.mean(), x.mean()
    around = np.arctan2(y - middle[0], x - middle[1])
    away = np.hypot(y - middle[0], x - middle[1])
    reach = [away[np.abs(np.angle(np.exp(1j * (around - angle)))) < 0.3].max(initial=1) for angle in angles]
    points = [(middle[0] + r * np.sin(a), middle[1] + r * np.cos(a)) for r, a in zip(reach, angles, strict=True)]
    height, width = mask.shape
    return [(float(np.clip(y, 0, height - 1)), float(np.clip(x, 0, width - 1))) for y, x in points]


def paint(visit: Visit, truth: NDArray[np.int32], numbers: NDArray[np.intp]) -> None:
    """Outline some objects, and paint background in six places."""
    for key in ("o", "l"):
        visit.page.keyboard.press(key)
    for number in numbers:
        points = outline(truth == number)
        visit.drag([*points, points[0]])
    visit.see_image(rf"first.*\s{len(numbers)} objects")
    for key in ("b", "d", "j", "j", "j", "j"):
        visit.page.keyboard.press(key)
    empty = np.argwhere(ndimage.distance_transform_edt(truth == 0) > 5)
    for y, x in empty[:: len(empty) // 6].tolist():
        visit.drag([(y, x), (y, min(SHAPE[1] - 1.0, x + 2.0))])


def test_a_whole_session(browser: Any, scene: tuple[Path, NDArray[np.int32]], tmp_path: Path) -> None:
    images, truth = scene
    out = tmp_path / "session"
    sizes = np.bincount(truth.ravel())[1:]
    largest = 1 + np.argsort(-sizes)[:4]
    with Served(images, out) as served:
        visit = served.visit(browser)
        visit.keep("1-open")
        paint(visit, truth, largest)
        visit.keep("2-painted")
        visit.see(r"learning: \d+ steps.*updated", "#learn-words")
        visit.keep("3-first-prediction")
        visit.page.locator("#places-box summary").click()
        visit.see("least certain here|unlike what is annotated", "#places")
        keyboard = visit.page.keyboard
        for key in ("Control+z", "Control+z", "Control+y", "Shift+a"):
            keyboard.press(key)
        visit.keep("4-accepted")
        keyboard.press("?")
        visit.see("Paint background", "#help")
        visit.keep("5-keys")
        keyboard.press("Escape")
        playwright.expect(visit.page.locator("#help")).to_be_hidden(timeout=PATIENCE_MS)
        keyboard.press(".")
        visit.see("second", "#image-name")
        assert visit.complaints == []
        visit.page.close()

    labels = out / "labels" / "first.tif"
    found = read_labels(labels)
    for number in largest:  # each outline is one object, nearly as it was drawn
        values, counts = np.unique(found[truth == number], return_counts=True)
        assert values[counts.argmax()] > 0
        assert counts.max() > 0.8 * sizes[number - 1]
    assert (found == 0).any()

    with Served(images, out) as served:
        visit = served.visit(browser)
        visit.see_image(rf"first.*\s{len(np.unique(found[found > 0]))} objects")
        visit.keep("6-opened-again")
        assert visit.complaints == []
        visit.page.close()
    assert (read_labels(labels) == found).all()


def test_the_keyboard_alone_paints(browser: Any, scene: tuple[Path, NDArray[np.int32]], tmp_path: Path) -> None:
    images, _ = scene
    with Served(images, tmp_path / "session") as served:
        visit = served.visit(browser)
        visit.page.locator("#overlay").focus()
        for key in ("o", "d", "ArrowRight", "ArrowDown", "Enter", "ArrowRight", "ArrowRight", "Enter"):
            visit.page.keyboard.press(key)
        visit.see_image(r"first.*\s1 object")
        visit.page.keyboard.press("Control+z")
        playwright.expect(visit.page.locator("#undo")).to_be_disabled(timeout=PATIENCE_MS)
        assert visit.complaints == []
        visit.page.close()


def test_a_lasso_of_background_leaves_objects(
    browser: Any, scene: tuple[Path, NDArray[np.int32]], tmp_path: Path
) -> None:
    images, _ = scene
    with Served(images, tmp_path / "session") as served:
        visit = served.visit(browser)
        for keys, low, high in ((("o", "l"), 40.0, 60.0), (("b", "l"), 30.0, 70.0)):
            for key in keys:
                visit.page.keyboard.press(key)
            corners = [(low, low), (low, high), (high, high), (high, low)]
            visit.drag([*corners, corners[0]])
        visit.see_image(r"first.*\s1 object")
        assert visit.complaints == []
        visit.page.close()
    found = read_labels(tmp_path / "session" / "labels" / "first.tif")
    assert (found[42:58, 42:58] > 0).all()
    assert (found[32:38, 32:68] == 0).all()
    assert (found[75:] == -1).all()

"""The blocks of the guide run, page by page: commands (```sh) and Python, on small synthetic data of their names.

Trainings take two steps instead of minutes. What a page writes is there for its later blocks.
"""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import tifffile

import contractile as ct
from contractile import cli
from contractile.images.zarrs import is_zarr
from contractile.synthetic import SceneConfig, draw_scene

matplotlib.use("Agg")
DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^ *```(sh|python|toml)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)  # also within lists
PAGES = [
    "../README.md",
    *("index.md", "labels.md", "recipes.md", "any-size.md", "evaluate.md", "quality.md", "python.md", "faq.md"),
    *("science/paper.md", "science/tiles.md", "science/symmetry.md"),
]
STEPS = "2"


def blocks(page):
    found = BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))
    return [(kind, textwrap.dedent(text)) for kind, text in found]


def call(*words):
    """A command in this process; its status is 0."""
    argv, sys.argv = sys.argv, ["contractile", *words]
    try:
        with pytest.raises(SystemExit) as stop:
            cli.main()
    finally:
        sys.argv = argv
    assert stop.value.code in (0, None), shlex.join(words)


def quickly(words):
    """The words of a command, where a training takes two steps instead of minutes, into a folder that is free."""
    if words[0] != "train":
        return words
    if "--minutes" in words:
        place = words.index("--minutes")
        del words[place : place + 2]
    if "--resume" in words:
        return words
    shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
    return [*words, "--steps", STEPS]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    """A folder with images, labels, a model and all else that the pages name."""
    folder = tmp_path_factory.mktemp("workshop")
    rng = np.random.default_rng(3)
    for kind, names in (("", "abcd"), ("new_", "agh")):
        for name in names:
            image, labels = draw_scene(SceneConfig(shape=(48, 48), radius=7), rng)
            for what, pixels in (("images", image[0].clip(0)), ("labels", labels)):
                (folder / f"{kind}{what}").mkdir(exist_ok=True)
                tifffile.imwrite(folder / f"{kind}{what}" / f"{name}.tif", pixels.astype(np.uint16))
            (folder / "masks").mkdir(exist_ok=True)
            tifffile.imwrite(folder / "masks" / f"{name}.tif", (labels > 0).astype(np.uint8))
    volume, cells = draw_scene(SceneConfig(shape=(12, 32, 32), radius=5), rng)
    tifffile.imwrite(folder / "stack.tif", volume[0].clip(0).astype(np.uint16), metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "labels.tif", cells.astype(np.uint16), metadata={"axes": "ZYX"})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shutil.copyfile("new_images/g.tif", "slide.tif")
        call(*f"train images labels --out run --steps {STEPS}".split())
        for place in ("results", "nuclei_results"):
            call("predict", "run", "new_images", "--out", place)
        call("predict", "run", "images/a.tif", "--out", "zarr", "--format", "ome-zarr")
        shutil.move("zarr/a_labels.zarr", "slide.zarr")
        assert is_zarr(Path("slide.zarr"))
        draw_rois()
    return folder


def draw_rois():
    if importlib.util.find_spec("roifile") is None:
        return
    import roifile

    Path("rois").mkdir()
    corners = [[4, 4], [12, 4], [12, 12], [4, 12]]
    for name in "abcd":
        rois = [roifile.ImagejRoi.frompoints(np.array(corners) + move) for move in (0, 20)]
        roifile.roiwrite(f"rois/{name}_rois.zip", rois)


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page, workshop, tmp_path, monkeypatch, capsys):
    if page == "labels.md":
        pytest.importorskip("roifile")
    folder = tmp_path / "here"
    shutil.copytree(workshop, folder)
    monkeypatch.chdir(folder)
    for kind, text in blocks(page):
        if kind == "toml":
            Path("my.toml").write_text(text, encoding="utf-8")
        elif kind == "python":
            short = re.sub(r'"minutes": \d+|"steps": \d+', f'"steps": {STEPS}', text)
            if 'out="run"' in short:
                shutil.rmtree("run")
            exec(compile(short, page, "exec"), {"__name__": "__main__"})
        for line in text.splitlines() if kind == "sh" else ():
            program, *words = shlex.split(line, comments=True)
            if program == "contractile":
                call(*quickly(words))
            else:
                subprocess.run([sys.executable, *words], check=True, capture_output=True)
    check(page, folder)


def check(page, folder):
    """What the blocks of a page promise beyond running."""
    if page == "../README.md":
        assert (folder / "results" / "stack_labels.tif").is_file()
        assert (folder / "results" / "g_overlay.png").is_file()
        assert [kind for kind, _ in blocks(page)].count("sh") >= 4
    if page == "labels.md":
        assert (folder / "from_rois" / "model.safetensors").is_file()
        assert sorted(np.unique(ct.read_labels("marked.tif", dims=3)[1])) == [-1]
        assert ct.read_labels("numbered/a.tif").max() > 1
        assert {path.suffix for path in (folder / "shapes").iterdir()} >= {".tif", ".zip", ".json", ".geojson"}
    if page == "faq.md":
        small, large = ct.read_labels("labels/a.tif"), ct.read_labels("labels_large/a.tif")
        assert (large[::2, ::2] == small).all()
        assert ct.read("images_large/a.tif").pixels.shape == (1, 96, 96)
    if page == "any-size.md":
        assert (folder / "slide.zarr" / "labels").is_dir()

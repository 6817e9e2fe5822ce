"""A BioImage.IO package says all that its reader needs, and gives our result to whoever reads it."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from exported import make_model, tile_as_others
from test_cli import call
from test_export import CLOSE, draw

import contractile as ct
from contractile.decode import Decoding
from contractile.errors import ContractileError
from contractile.export import ExportConfig, export_model
from contractile.export.proof import predict_exactly
from contractile.export.rule import Rule
from contractile.export.to_onnx import run_onnx
from contractile.export.to_torchscript import run_torchscript
from contractile.intensity import Normalization
from contractile.model import load, save

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
spec = pytest.importorskip("bioimageio.spec")
yaml = pytest.importorskip("ruyaml")

CORE = os.environ.get("CONTRACTILE_BIOIMAGEIO_PYTHON")
PEOPLE = {"authors": ("Ada Lovelace", "Emmy Noether"), "license": "CC-BY-4.0"}
CARD = {
    "description": "Round cells.",
    "pixel_size_um": (0.5, 0.5),
    "scores": {"f1": 0.75},
    "decoding": Decoding(split=30),
}
CLASSES = {"task": "classes", "class_values": (0, 255), "diameter": None, "normalization": Normalization()}
NAMES = {"class_names": ("background", "cell wall")}
MODELS = {
    "unpadded": {"padding": "valid", "card": CARD},
    "padded": {"depth": 1, "classes": 2, "card": {**CLASSES, **NAMES}},
    "volume": {"dims": 3, "depth": 1, "flat_levels": (1, 0, 0), "padding": "valid"},
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder with the models, an image for each, and their packages: (folder, what was measured)."""
    folder = tmp_path_factory.mktemp("packages")
    made = {}
    for name, settings in MODELS.items():
        model = make_model(**settings)
        save(model, folder / f"{name}.safetensors")
        image = draw() if model.card.network.dims == 2 else draw((9, 40, 44))
        tifffile.imwrite(folder / f"{name}.tif", image[0])
        config = ExportConfig(**PEOPLE, name=f"Cells {name}", grey="fixed" if name == "padded" else "each")
        place = folder / f"{name}.safetensors"
        made[name] = export_model(place, folder / f"{name}.zip", config=config, image=str(folder / f"{name}.tif"))
    return folder, made


def unpack(path):
    """The description of a package, and its files by name."""
    with zipfile.ZipFile(path) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    return yaml.YAML(typ="safe").load(contents["rdf.yaml"]), contents


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", MODELS)
def test_the_library_of_the_format_takes_it(packages, name):
    folder, _ = packages
    model = spec.load_description(folder / f"{name}.zip")
    assert isinstance(model, spec.model.v0_5.ModelDescr)
    assert [author.name for author in model.authors] == list(PEOPLE["authors"])
    assert model.license == "CC-BY-4.0"
    assert model.name == f"Cells {name}"
    assert {"unet", "segmentation", "3d" if name == "volume" else "2d"} <= set(model.tags)
    assert model.cite[0].doi == "10.1007/978-3-319-24574-4_28"
    assert model.inputs[0].pad.mode == "reflect"


@pytest.mark.parametrize("name", MODELS)
def test_whoever_follows_the_description_gets_our_result(packages, name):
    """Sizes, halo and preprocessing are read from the description; tiles are cut as others cut them."""
    folder, _ = packages
    described, contents = unpack(folder / f"{name}.zip")
    [taken], [given] = described["inputs"], described["outputs"]
    space = [axis for axis in taken["axes"] if axis["type"] == "space"]
    sizes = {
        "step": [axis["size"]["step"] for axis in space],
        "least": [axis["size"]["min"] for axis in space],
        "halo": [axis["halo"] for axis in given["axes"] if axis["type"] == "space"],
    }
    card = load(folder / f"{name}.safetensors").card
    image = (
        ct.read(folder / f"{name}.tif", dims=card.network.dims).pixels
        if name == "padded"
        else draw((170, 190) if card.network.dims == 2 else (11, 50, 40), seed=3)
    )
    values = preprocess(taken["preprocessing"], image)
    rule = Rule.of(card.normalization, fit(folder, name, card), fixed=name == "padded")
    ours = predict_exactly(load(folder / f"{name}.safetensors"), image, rule.fit(image))
    for run in (run_onnx(contents["weights.onnx"]), run_torchscript(contents["weights.torchscript.pt"])):
        found = tile_as_others(run, values, **sizes)
        inner = (
            slice(None),
            *(slice(halo, size - halo) for halo, size in zip(sizes["halo"], image.shape[1:], strict=True)),
        )
        assert np.abs(found - ours)[inner].max() < CLOSE
        assert np.abs(found - ours).max() < CLOSE  # they mirror at the border of the image, as we do
    names = next(axis["channel_names"] for axis in given["axes"] if axis["type"] == "channel")
    assert len(names) == len(ours)


def fit(folder, name, card):
    return card.normalization.fit(ct.read(folder / f"{name}.tif", dims=card.network.dims).pixels)


def preprocess(steps, image):
    """What the description says, by the formulas of the format."""
    values = image.astype(np.float32)
    for step in steps:
        if step["id"] == "scale_range":
            known = step["kwargs"]
            low, high = np.percentile(values, (known["min_percentile"], known["max_percentile"]))
            values = ((values - low) / (high - low + known["eps"])).astype(np.float32)
        else:
            assert step == {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}
    return values


@pytest.mark.parametrize("name", MODELS)
def test_the_test_tensors_belong_together(packages, name):
    folder, made = packages
    described, contents = unpack(folder / f"{name}.zip")
    given, expected = (np.load(io.BytesIO(contents[f"test_{end}.npy"])) for end in ("input", "output"))
    assert given.shape[2:] == expected.shape[2:]
    values = preprocess(described["inputs"][0]["preprocessing"], given)
    for run in (run_onnx(contents["weights.onnx"]), run_torchscript(contents["weights.torchscript.pt"])):
        np.testing.assert_allclose(run(values), expected, atol=CLOSE)
    assert set(made[name].off) == {"ONNX", "TorchScript"}
    assert max(made[name].off.values()) < CLOSE


def test_the_cover_is_a_small_square_picture_with_the_result_in_it(packages):
    folder, _ = packages
    for name in MODELS:
        _, contents = unpack(folder / f"{name}.zip")
        picture = imagecodecs.png_decode(contents["cover.png"])
        assert picture.shape[0] == picture.shape[1]
        assert len(contents["cover.png"]) < 500_000
    _, contents = unpack(folder / "unpadded.zip")
    picture = imagecodecs.png_decode(contents["cover.png"]).astype(int)
    coloured = (picture.max(axis=2) - picture.min(axis=2)) > 10
    side = len(picture)
    upper = np.tri(side, dtype=bool)[::-1]
    assert coloured[upper].any()
    assert not coloured[~upper].any()


def test_the_page_says_what_a_user_must_do(packages):
    folder, made = packages
    page = unpack(folder / "unpadded.zip")[1]["README.md"].decode()
    assert "# Cells unpadded" in page
    assert "Round cells." in page
    assert "subtract percentile 1 of the whole image (not of a tile)" in page
    assert "multiples of 4, at least 44 pixels" in page
    assert "20 pixels at each end of a tile are to be dropped" in page
    assert "Pixels of 0.5 micrometres" in page
    assert "f1 0.750" in page
    assert "a core is split at the lowest of 0.6 or 0.7 or 0.8 or 0.9 or 0.95 that gives at least two pieces of" in page
    assert f"this rule gives {100 * made['unpadded'].changed:.2g} % of the pixels another class" in page
    assert "outside, core, rim" in page
    page = unpack(folder / "padded.zip")[1]["README.md"].decode()
    assert "scales each image as the test image was scaled" in page
    assert "background, cell wall" in page
    assert made["padded"].changed == 0


def test_channels_of_a_package_have_the_names_of_the_classes(packages):
    folder, _ = packages
    described, _ = unpack(folder / "padded.zip")
    [names] = [axis["channel_names"] for axis in described["outputs"][0]["axes"] if axis["type"] == "channel"]
    assert names == ["background", "cell_wall"]


def test_a_package_without_a_name_gets_that_of_the_model(packages, monkeypatch, capsys):
    folder, _ = packages
    monkeypatch.chdir(folder)
    words = ["--author", "Ada Lovelace", "--author", "Emmy Noether", "--license", "MIT", "--image", "padded.tif"]
    status, told, _ = call(capsys, "export", "padded.safetensors", "--to", "bioimageio", "--out", "p.zip", *words)
    assert status == 0
    assert "TorchScript: probabilities off by at most" in told
    assert told.strip().endswith("p.zip")
    described, _ = unpack("p.zip")
    assert described["name"] == "contractile padded"
    assert [author["name"] for author in described["authors"]] == ["Ada Lovelace", "Emmy Noether"]


def test_what_the_format_refuses_is_said_in_one_line(packages, monkeypatch):
    folder, _ = packages
    monkeypatch.setattr("contractile.export.leaving._Export.onnx", lambda self: b"")
    monkeypatch.setattr("contractile.export.leaving._Export.torchscript", lambda self: b"")
    config = ExportConfig(**PEOPLE, name="cells: which?")
    with pytest.raises(ContractileError, match=r"the package is refused by its own format \(.*name.*\); change this"):
        export_model(folder / "padded.safetensors", folder / "q.zip", config=config, image=str(folder / "padded.tif"))
    assert not (folder / "q.zip").exists()


def test_a_missing_library_names_its_install_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bioimageio.spec.model.v0_5", None)
    with pytest.raises(ContractileError, match=r"needs the package bioimageio\.spec; pip install 'contractile\[export"):
        export_model("nuclei", tmp_path / "a.zip", config=ExportConfig(**PEOPLE))


@pytest.mark.skipif(CORE is None, reason="CONTRACTILE_BIOIMAGEIO_PYTHON names no Python that has bioimageio.core")
@pytest.mark.parametrize("name", MODELS)
def test_bioimageio_core_tests_and_tiles_it(packages, name, tmp_path):
    folder, _ = packages
    model = load(folder / f"{name}.safetensors")
    image = draw((17, 56, 64), seed=4) if name == "volume" else draw((148, 172), seed=4)  # as core wants: multiples
    rule = Rule.of(model.card.normalization, fit(folder, name, model.card), fixed=name == "padded")
    np.save(tmp_path / "image.npy", image.astype(np.float32))
    np.save(tmp_path / "ours.npy", predict_exactly(model, image, rule.fit(image)))
    words = [CORE, Path(__file__).parent / "run_bioimageio.py", folder / f"{name}.zip", tmp_path]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["status"].values()) == {"passed"}
    at_once = [found["off"].pop(f"{form} None") for form in ("onnx", "torchscript")]
    assert max(found["off"].values()) < CLOSE, found
    if name == "padded":  # without blocks, core finds percentiles after it has mirrored the border
        assert max(at_once) < CLOSE

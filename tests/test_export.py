"""Exported networks give what `prediction` gives, however others tile; what cannot be exported is refused."""

import json
import keyword
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from exported import make_model, tile_as_others
from hypothesis import given
from hypothesis import strategies as st
from test_cli import call

import contractile as ct
from contractile.errors import ContractileError, NotFinished
from contractile.export import ExportConfig, Frame, Tiles, export_model
from contractile.export import leaving as export_leaving
from contractile.export.network import ExportedNetwork, configs_of
from contractile.export.proof import predict_exactly
from contractile.export.rule import Rule, typical_curve
from contractile.export.to_onnx import make_onnx, run_onnx
from contractile.export.to_torchscript import make_torchscript, run_torchscript
from contractile.export.words import Facts, as_identifiers, entries
from contractile.intensity import Normalization
from contractile.model import Model, combine, save
from contractile.synthetic import SceneConfig, draw_scene

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

CLOSE = 1e-4
DOCUMENT = Path(__file__).parents[1] / "docs" / "export.md"
configs = st.builds(
    lambda dims, depth, padding, head, flat: ct.UNetConfig(
        dims=dims, depth=depth, padding=padding, head_kernel=head, width=2, flat_levels=(min(flat, depth), 0, 0)[-dims:]
    ),
    st.sampled_from([2, 3]),
    st.integers(1, 5),
    st.sampled_from(["valid", "same"]),
    st.sampled_from([1, 3]),
    st.integers(0, 3),
)


def draw(shape=(150, 170), seed=0):
    """An image (1, *S) of cells in 16 bits."""
    image, _ = draw_scene(SceneConfig(shape=shape, radius=8), np.random.default_rng(seed))
    return (20 * image).astype(np.uint16)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an image and a model of unpadded convolutions, and that model as ONNX."""
    folder = tmp_path_factory.mktemp("exported")
    tifffile.imwrite(folder / "image.tif", draw()[0])
    card = {"pixel_size_um": (0.5, 0.25), "normalization": Normalization(kind="compressive")}
    save(make_model(padding="valid", card=card), folder / "m.safetensors")
    config = ExportConfig(to="onnx")
    export_model(folder / "m.safetensors", folder / "m.onnx", config=config, image=str(folder / "image.tif"))
    return folder


# sizes


@given(configs, st.integers(0, 3))
def test_a_tile_of_any_allowed_size_gives_output_of_its_size_on_the_pooling_grid(config, more):
    frame, tiles = Frame.of(config), Tiles.of([config])
    for axis, (step, halo, least) in enumerate(zip(tiles.step, tiles.halo, tiles.least, strict=True)):
        size = least + more * step
        (before, after), (low, high) = frame.cut[axis], frame.fill[axis]
        assert config.output_size(size - before - after, axis) + low + high == size
        assert step == config.stride[axis]
        assert halo % step == 0
        assert low % step == 0  # the first pixel of the output lies on the pooling grid
        if config.padding == "valid":
            assert low == before + config.margin[axis]  # and belongs to the pixel of its place
            assert halo >= max(low, high)
        else:
            assert halo >= config.margin[axis]


def test_the_paper_network_is_framed_as_measured_before():
    frame, tiles = Frame.of(ct.UNetConfig.paper()), Tiles.of([ct.UNetConfig.paper()])
    assert (frame.cut[0], frame.fill[0]) == ((4, 0), (96, 92))
    assert (tiles.step[0], tiles.halo[0], tiles.least[0]) == (16, 96, 208)
    assert tiles.fit((100, 251)) == (208, 240)


# grey values


@pytest.mark.parametrize("kind", ["linear", "compressive", "percentile", "standard", "none"])
@pytest.mark.parametrize("fixed", [False, True])
def test_rule_and_network_together_give_the_curve(kind, fixed):
    pixels = np.concatenate([draw(), 3 * draw(seed=1)])
    pixels[0, :9, :9] = 60000  # beyond the bounds
    normalization = Normalization(kind=kind)
    rule = Rule.of(normalization, normalization.fit(pixels), fixed=fixed)
    curve = rule.fit(pixels)
    network = ExportedNetwork(make_model(channels=2), rule)
    found = network.grey(torch.from_numpy(rule.scale(pixels, curve)[None])).numpy()[0]
    expected = curve.apply(pixels)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
    assert rule.looks_at_image == (not fixed and kind != "none")


def test_percentiles_are_those_of_each_channel():
    rule = Rule.of(Normalization(), typical_curve(Normalization(), 2), fixed=False)
    pixels = np.stack([np.arange(10000.0), 5 - np.arange(10000.0)]).reshape(2, 100, 100).astype(np.float32)
    values = rule.scale(pixels, rule.fit(pixels))
    np.testing.assert_allclose(np.percentile(values.reshape(2, -1), (1, 99.8), axis=1), [[0, 0], [1, 1]], atol=1e-5)


# words


@pytest.mark.parametrize(
    ("card", "names", "identifiers"),
    [
        ({"class_values": (-1, 255)}, ["class_minus_1", "class_255"], ["class_minus_1", "class_255"]),
        (
            {"class_values": (0, 1), "class_names": ("background", "cell wall")},
            ["background", "cell wall"],
            ["background", "cell_wall"],
        ),
        ({"class_values": (0, 1), "class_names": ("\x1b[2J", "in")}, ["\\x1b[2J", "in"], ["_x1b_2J", "class_in"]),
    ],
)
def test_classes_have_the_names_of_the_annotations(card, names, identifiers):
    model = make_model(classes=2, card={"task": "classes", "diameter": None, **card})
    rule = Rule.of(Normalization(), typical_curve(Normalization(), 1), fixed=False)
    facts = Facts(model, Tiles.of([model.card.network]), rule)
    assert json.loads(entries(facts)["classes"]) == names
    assert facts.identifiers == identifiers


@given(st.lists(st.text(max_size=6) | st.sampled_from(["", "a", "a_1", "if", "9", "a b", "a-b"]), max_size=6))
def test_identifiers_are_legal_and_differ(names):
    found = as_identifiers(names)
    assert all(one.isidentifier() and not keyword.iskeyword(one) for one in found)
    assert len(set(found)) == len(found) == len(names)
    assert as_identifiers(found) == found


# networks

CASES = {
    "unpadded": {"padding": "valid"},
    "padded": {},
    "sigmoid": {"classes": 1, "sigmoid": True, "padding": "valid", "card": {"task": "classes", "class_values": (0, 9)}},
    "flat volume": {"dims": 3, "depth": 1, "flat_levels": (1, 0, 0), "padding": "valid"},
    "padded volume": {"dims": 3, "depth": 1, "flat_levels": (1, 0, 0), "head_kernel": 3},
}


@pytest.mark.parametrize("case", CASES)
def test_torchscript_in_tiles_of_others_gives_our_result(case):
    model = make_model(**CASES[case])
    dims = model.card.network.dims
    image = draw((92, 112) if dims == 2 else (8, 34, 42))
    tiles = Tiles.of(list(configs_of(model)))
    rule = Rule.of(model.card.normalization, model.card.normalization.fit(image), fixed=False)
    curve = rule.fit(image)
    run = run_torchscript(make_torchscript(ExportedNetwork(model, rule), tiles, 1))
    ours = predict_exactly(model, image, curve)
    for more in (0, 2) if dims == 2 else (1,):
        sizes = {"step": tiles.step, "halo": tiles.halo, "least": tiles.least, "more": more}
        for back in (False, True):  # images whose sides are multiples of the step
            found = tile_as_others(run, rule.scale(image, curve), **sizes, back=back)
            assert np.abs(found - ours).max() < CLOSE
    assert ours.std(axis=(1, 2) if dims == 2 else (1, 2, 3)).max() > 0.02  # there is something to compare


def test_several_networks_leave_as_their_mean():
    model = combine([make_model(padding="valid"), make_model(seed=1, depth=1), make_model(seed=2, depth=3)])
    tiles = Tiles.of(list(configs_of(model)))
    assert tiles.step == (8, 8)
    image = draw((120, 130))
    rule = Rule.of(model.card.normalization, model.card.normalization.fit(image), fixed=True)
    run = run_torchscript(make_torchscript(ExportedNetwork(model, rule), tiles, 1))
    sizes = {"step": tiles.step, "halo": tiles.halo, "least": tiles.least}
    found = tile_as_others(run, rule.scale(image, rule.curve), **sizes)
    assert np.abs(found - predict_exactly(model, image, rule.curve)).max() < CLOSE


def test_onnx_in_tiles_of_others_gives_our_result(place):
    """By what the file itself says, as somebody would who has nothing else."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(place / "m.onnx"), providers=["CPUExecutionProvider"])
    known = session.get_modelmeta().custom_metadata_map
    [told] = [one for one in session.get_inputs()]
    assert told.shape == ["batch", 1, "y", "x"]
    assert known["sizes"] == "multiples of 4, at least 44 pixels"
    assert known["halo"].startswith("20 pixels")
    assert "percentile 1 of the whole image" in known["input"]
    assert "percentiles 99.9 and 1" in known["input"]
    assert json.loads(known["classes"]) == ["outside", "core", "rim"]
    assert json.loads(known["pixel_size_um"]) == [0.5, 0.25]
    assert json.loads(known["card"])["network"]["padding"] == "valid"
    image = draw(seed=2)
    low, high = np.percentile(image, (1, 99.9))
    values = ((image - low) / (high - low)).astype(np.float32)
    found = tile_as_others(
        lambda batch: session.run(None, {"image": batch})[0], values, step=(4, 4), halo=(20, 20), least=(44, 44), more=3
    )
    model = ct.load(place / "m.safetensors").model
    # the noise of the image that was exported with is in the network
    fitted = model.card.normalization.fit(ct.read(place / "image.tif").pixels)
    curve = Rule.of(model.card.normalization, fitted, fixed=False).fit(image)
    ours = predict_exactly(model, image, curve)
    assert np.abs(found - ours).max() < CLOSE
    assert (ours.max(axis=(1, 2)) - ours.min(axis=(1, 2))).min() > 0.05


def test_the_example_of_the_documentation_gives_our_result(place, monkeypatch):
    [example] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    example = example.replace("cells.onnx", "m.onnx").replace("32 * step", "20 * step")
    monkeypatch.chdir(place)
    names: dict = {}
    exec(compile(example, DOCUMENT, "exec"), names)
    image = ct.read("image.tif").pixels
    model = ct.load("m.safetensors").model
    curve = Rule.of(model.card.normalization, model.card.normalization.fit(image), fixed=False).fit(image)
    assert np.abs(names["maps"] - predict_exactly(model, image, curve)).max() < CLOSE


def test_onnx_takes_any_batch_and_is_sound(place):
    content = (place / "m.onnx").read_bytes()
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    run = run_onnx(content)
    batch = np.random.default_rng(0).random((3, 1, 44, 52), np.float32)
    together = run(batch)
    assert together.shape == (3, 3, 44, 52)
    np.testing.assert_allclose(together[1:2], run(batch[1:2]), atol=1e-6)
    np.testing.assert_allclose(together.sum(axis=1)[:, 20:-20, 20:-20], 1, atol=1e-5)


def test_a_volume_leaves_as_onnx(tmp_path):
    model = make_model(**CASES["flat volume"])
    save(model, tmp_path / "m.safetensors")
    made = export_model(tmp_path / "m.safetensors", tmp_path / "m.onnx", config=ExportConfig(to="onnx"))
    assert made.off["ONNX"] < CLOSE
    assert made.changed is None
    found = onnx.load(tmp_path / "m.onnx")
    sizes = [axis.dim_param for axis in found.graph.output[0].type.tensor_type.shape.dim]
    assert sizes == ["batch", "", "z", "y", "x"]
    assert {one.key: one.value for one in found.metadata_props}["sizes"].startswith("multiples of 1 (z), 2 (y), 2 (x)")
    tiles, rule = (
        Tiles.of([model.card.network]),
        Rule.of(Normalization(), typical_curve(Normalization(), 1), fixed=False),
    )
    least = np.random.default_rng(0).random((1, 1, *tiles.least), np.float32)
    with torch.no_grad():
        expected = ExportedNetwork(model, rule)(torch.from_numpy(least)).numpy()
    np.testing.assert_allclose(run_onnx((tmp_path / "m.onnx").read_bytes())(least), expected, atol=1e-5)


# files


def test_the_command_says_what_was_measured(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    words = ["export", "m.safetensors", "--to", "onnx", "--out", "fixed.onnx", "--image", "image.tif"]
    status, told, _ = call(capsys, *words, "--grey", "fixed")
    assert status == 0
    assert "ONNX: probabilities off by at most" in told
    assert "scales each image as the test image was scaled" in told
    assert "on the image, this rule gives 0 % of the pixels another class" in told
    image = ct.read("image.tif").pixels
    pixels = image[:, 3:147, 3:163].astype(np.float32)  # as they are
    model = ct.load("m.safetensors").model
    ours = predict_exactly(model, image, model.card.normalization.fit(image))[:, 3:147, 3:163]
    found = run_onnx(Path("fixed.onnx").read_bytes())(pixels[None])[0]
    # the first pixel of a tile lies on the pooling grid of the image: 3 is not on it
    assert np.abs(found - ours)[:, 20:-20, 20:-20].max() > 0.001
    found = run_onnx(Path("fixed.onnx").read_bytes())(image[:, 4:148, 4:164].astype(np.float32)[None])[0]
    ours = predict_exactly(model, image, model.card.normalization.fit(image))[:, 4:148, 4:164]
    assert np.abs(found - ours)[:, 20:-20, 20:-20].max() < CLOSE


def test_wrong_weights_are_found_before_they_are_written(place, monkeypatch):
    class Shifted(Frame):
        @classmethod
        def of(cls, config):
            right = Frame.of(config)
            return Frame(right.cut, tuple((low - 1, high + 1) for low, high in right.fill))

    monkeypatch.setattr("contractile.export.network.Frame", Shifted)
    monkeypatch.setattr(export_leaving, "make_onnx", lambda *given: make_torchscript(*given[:3]))  # which is quicker
    monkeypatch.setattr(export_leaving, "run_onnx", run_torchscript)
    with pytest.raises(NotFinished, match=r"exported ONNX weights give other probabilities than the model, by up to"):
        export_model(place / "m.safetensors", place / "wrong.onnx", config=ExportConfig(to="onnx"))
    assert not (place / "wrong.onnx").exists()


def test_a_file_of_others_is_not_replaced(place):
    (place / "mine.onnx").write_text("mine")
    with pytest.raises(ContractileError, match=r"mine\.onnx"):
        export_model(place / "m.safetensors", place / "mine.onnx", config=ExportConfig(to="onnx"))
    assert (place / "mine.onnx").read_text() == "mine"


def test_no_more_than_one_file_holds(monkeypatch):
    monkeypatch.setattr("contractile.export.to_onnx.LARGEST", 1000)
    model = make_model()
    rule = Rule.of(Normalization(), typical_curve(Normalization(), 1), fixed=False)
    with pytest.raises(ContractileError, match=r"networks must have less than 0\.0 GB of weights for ONNX, got 0\.0"):
        make_onnx(ExportedNetwork(model, rule), Tiles.of([model.card.network]), 1, {})


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_names_its_install_line(place, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(export_leaving, "make_onnx", export_leaving.make_onnx if package != "onnxruntime" else fake)
    with pytest.raises(ContractileError, match=rf"export needs the package {package}; pip install 'contractile\[expo"):
        export_model(place / "m.safetensors", place / "none.onnx", config=ExportConfig(to="onnx"))


def test_options_without_effect_are_said(place, monkeypatch, caplog):
    monkeypatch.setattr(export_leaving, "load", lambda _: pytest.fail("said before"))
    people = {"authors": ("Ada",), "license": "MIT", "name": "a model"}
    with pytest.raises(pytest.fail.Exception):
        export_model(place / "m.safetensors", place / "no.onnx", config=ExportConfig(to="onnx", **people), axes="YX")
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        *(f"{name} changes nothing: it is for packages (--to bioimageio)" for name in ("name", "authors", "license")),
        "axes changes nothing: it is for --image (image), and none was given",
    ]


def fake(*_):
    return b""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--to onx --out m.onnx", "--to must be 'onnx' or 'bioimageio', got 'onx'; use 'onnx'"),
        ("--to onnx --out m.zip", "out must name a .onnx file for onnx, got m.zip; write e.g. m.onnx"),
        (
            "--to onnx --out m.onnx --grey fixed",
            "fixed grey values are those of an image, got none; add --image",
        ),
        ("--to onnx", "Missing option '--out'; for example: contractile export run --to onnx --out model.onnx"),
        (
            "--to bioimageio --out m.zip",
            "a package needs at least one author, got none; add --author 'First Last'",
        ),
        (
            "--to bioimageio --out m.zip --author A",
            "a package needs a licence, got none; add --license, e.g. CC-BY-4.0 or MIT",
        ),
        (
            "--to bioimageio --out m.zip --author A --license free",
            "license must be an SPDX identifier, got free; write e.g. CC-BY-4.0 or MIT",
        ),
        (
            "--to bioimageio --out m.zip --author A --license MIT",
            "a package needs an image, of which it shows a part, got none; add --image, one that may be published",
        ),
    ],
)
def test_a_wrong_call_gets_one_clear_line(place, monkeypatch, capsys, words, line):
    monkeypatch.chdir(place)
    status, _, told = call(capsys, "export", "m.safetensors", *words.split())
    assert status == 2
    assert told.strip() == f"contractile: {line}"


def test_an_image_with_other_channels_is_refused(place):
    tifffile.imwrite(place / "two.tif", np.concatenate([draw(), draw(seed=1)]), metadata={"axes": "CYX"})
    with pytest.raises(ContractileError, match=r"the image has 2 channel\(s\), but the model takes 1"):
        export_model(
            place / "m.safetensors", place / "two.onnx", config=ExportConfig(to="onnx"), image=str(place / "two.tif")
        )


def test_of_several_images_the_first_is_taken_and_said(place, caplog):
    from contractile.export.sample import read_sample

    (place / "several").mkdir()
    for number in range(2):
        tifffile.imwrite(place / "several" / f"{number}.tif", draw(seed=number)[0])
    model = ct.load(place / "m.safetensors").model
    sample = read_sample(str(place / "several"), model, Tiles.of([model.card.network]))
    assert "holds 2 images" in caplog.text
    assert sample.files == (place / "several" / "0.tif",)


def test_the_sample_has_the_pixel_size_of_the_model(place):
    from contractile.export.sample import read_sample

    model = ct.load(place / "m.safetensors").model
    tiles = Tiles.of([model.card.network])
    plain = read_sample(str(place / "image.tif"), model, tiles)
    assert plain.pixels.shape == (1, 148, 168)
    assert (plain.pixels == ct.read(place / "image.tif").pixels[:, 1:149, 1:169]).all()
    shrunk = read_sample(str(place / "image.tif"), model.with_card(shrunk=2.0), tiles)
    assert shrunk.pixels.shape == (1, 72, 84)
    assert isinstance(model, Model)

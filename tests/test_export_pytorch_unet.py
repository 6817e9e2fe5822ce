"""Weights of Pytorch-UNet predict as a network of that layout does; what cannot be represented is refused."""

import pickle
import zipfile

import numpy as np
import pytest
import torch
from exported import make_model
from test_cli import call
from torch import nn

import contractile as ct
from contractile.engine import EngineConfig
from contractile.errors import ContractileError, NotFound
from contractile.export import import_weights
from contractile.model import is_model, load

CPU = EngineConfig(device="cpu", backend="torch", precision="float32")


def double(ins, outs, middle=None, bias=False):
    middle = middle or outs
    layers = []
    for a, b in ((ins, middle), (middle, outs)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=bias), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.ModuleDict({"double_conv": nn.Sequential(*layers)})


class Theirs(nn.Module):
    """The layout of Pytorch-UNet, by its known structure: skips first, then what is brought up."""

    def __init__(self, channels, classes, width=4, depth=4, *, bilinear=False, bias=False):
        super().__init__()
        self.inc, self.depth = double(channels, width, bias=bias), depth
        half = 2 if bilinear else 1
        for n in range(1, depth + 1):
            wide = width * 2**n // (half if n == depth else 1)
            down = nn.Module()
            down.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), double(width * 2 ** (n - 1), wide, bias=bias))
            self.add_module(f"down{n}", down)
        for n in range(1, depth + 1):
            wide = width * 2 ** (depth - n + 1)
            up = nn.Module()
            narrow = wide // 2 // (half if n < depth else 1)
            up.up = nn.Upsample(scale_factor=2) if bilinear else nn.ConvTranspose2d(wide, wide // 2, 2, stride=2)
            up.conv = double(wide, narrow, wide // 2 if bilinear else None, bias=bias)
            self.add_module(f"up{n}", up)
        self.outc = nn.ModuleDict({"conv": nn.Conv2d(width, classes, 1)})
        nn.init.normal_(self.outc["conv"].weight)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.running_mean, std=0.2)
                nn.init.uniform_(layer.running_var, 0.5, 1.5)
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.bias, std=0.2)

    def forward(self, x):
        skips = [self.inc["double_conv"](x)]
        for n in range(1, self.depth + 1):
            pool, block = getattr(self, f"down{n}").maxpool_conv
            skips.append(block["double_conv"](pool(skips[-1])))
        x = skips.pop()
        for n in range(1, self.depth + 1):
            up = getattr(self, f"up{n}")
            x = up.conv["double_conv"](torch.cat([skips.pop(), up.up(x)], dim=1))
        return self.outc["conv"](x)

    def probabilities(self, image):
        """What its predict.py gives an 8-bit image (C, Y, X): divided by 255, then a sigmoid or a soft-max."""
        with torch.no_grad():
            scores = self.eval()(torch.from_numpy(image[None] / 255).float())[0]
        if len(scores) == 1:
            inside = torch.sigmoid(scores)
            return torch.cat([1 - inside, inside]).numpy()
        return torch.softmax(scores, dim=0).numpy()


def put(path, network, **more):
    torch.save({**network.state_dict(), **more}, path)
    return path


@pytest.mark.parametrize(
    ("channels", "classes", "depth", "bias", "values", "expected"),
    [
        (3, 2, 4, False, [0, 255], (0, 255)),
        (1, 1, 4, True, None, (0, 1)),
        (1, 3, 2, False, [[0, 0, 0], [255, 0, 0], [0, 255, 0]], (0, 1, 2)),
        (1, 3, 1, False, [0, 7], (0, 1, 2)),
    ],
)
def test_imported_weights_predict_the_same(tmp_path, channels, classes, depth, bias, values, expected):
    torch.manual_seed(depth)
    theirs = Theirs(channels, classes, depth=depth, bias=bias)
    more = {} if values is None else {"mask_values": values}
    import_weights(put(tmp_path / "w.pth", theirs, **more), tmp_path / "m.safetensors")
    model = load(tmp_path / "m.safetensors")
    assert model.card.class_values == expected
    assert model.card.network.depth == depth
    assert "8-bit images" in model.card.description
    image = np.random.default_rng(0).integers(0, 256, (channels, 256, 240), np.uint8)
    wanted = theirs.probabilities(image)
    with torch.no_grad():
        scores = model.network.class_scores(torch.from_numpy(image[None]).float())
    np.testing.assert_allclose(scores.softmax(dim=1)[0].numpy(), wanted, atol=1e-5)
    found = np.asarray(ct.Predictor(model, engine=CPU).probabilities(image)[...])
    inner = (slice(None), slice(96, -96), slice(96, -96))  # they see zeros beyond the border, we mirrored pixels
    np.testing.assert_allclose(found[inner], wanted[inner], atol=1e-5)
    assert np.ptp(wanted[inner]) > 0.05


def test_the_command_makes_a_model_and_says_which_images_it_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    network = nn.DataParallel(Theirs(1, 1, depth=1))
    torch.save(network.state_dict(), "w.pth")
    status, told, _ = call(capsys, "import", "w.pth", "--out", "m.safetensors", "--scale", "0.5", "--from", "milesial")
    assert status == 0
    assert "For 8-bit images" in told
    assert told.strip().endswith("m.safetensors")
    card = load("m.safetensors").card
    assert card.shrunk == 2
    assert call(capsys, "import", "w.pth", "--out", "M.SAFETENSORS")[0] == 0
    assert is_model("M.SAFETENSORS")
    assert card.provenance["file"] == "w.pth"
    assert len(card.provenance["sha256"]) == 64


def test_the_bilinear_form_is_refused(tmp_path):
    path = put(tmp_path / "w.pth", Theirs(3, 2, bilinear=True))
    with pytest.raises(
        ContractileError, match=r"w\.pth: has the bilinear form of Pytorch-UNet, whose result depends on"
    ):
        import_weights(path, tmp_path / "m.safetensors")


def test_other_weights_are_refused(tmp_path):
    torch.save(make_model().network.state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        ContractileError, match=r"w\.pth: holds no weights of Pytorch-UNet \(inc\.double_conv\.0\.weight is missing\)"
    ):
        import_weights(tmp_path / "w.pth", tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda state: state.pop("down2.maxpool_conv.1.double_conv.3.weight"), r"contract\.2\.3\.weight is missing"),
        (lambda state: state.update(attention=torch.zeros(1)), r"attention is not known"),
        (
            lambda state: state.update({"up1.up.bias": torch.zeros(5)}),
            r"up\.0\.0\.bias has shape \(5,\), not \(8,\)",
        ),
    ],
)
def test_other_layers_are_refused(tmp_path, change, line):
    state = Theirs(1, 2, depth=2).state_dict()
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(
        ContractileError, match=rf"has other layers than Pytorch-UNet with width 4 and depth 2 \({line}"
    ):
        import_weights(tmp_path / "w.pth", tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("outc.conv.bias", "text", r"outc\.conv\.bias must be a tensor of numbers, got str"),
        (
            "outc.conv.bias",
            torch.full((2,), torch.nan),
            r"outc\.conv\.bias must hold finite numbers, got NaN or infinity",
        ),
    ],
)
def test_odd_values_are_refused(tmp_path, name, value, line):
    path = put(tmp_path / "w.pth", Theirs(1, 2, depth=1), **{name: value})
    with pytest.raises(ContractileError, match=line):
        import_weights(path, tmp_path / "m.safetensors")


def test_no_code_of_a_file_is_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Evil()))
    torch.save({"inc.double_conv.0.weight": Evil()}, tmp_path / "zip.pth")
    for name in ("raw.pth", "zip.pth"):
        with pytest.raises(ContractileError, match=r"cannot be read as weights of PyTorch without running code \(Unpi"):
            import_weights(tmp_path / name, tmp_path / "m.safetensors")
    assert not (tmp_path / "run").exists()


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path):
    put(tmp_path / "w.pth", Theirs(1, 2, depth=1))
    with (
        zipfile.ZipFile(tmp_path / "w.pth") as file,
        zipfile.ZipFile(tmp_path / "z.pth", "w", zipfile.ZIP_DEFLATED) as out,
    ):
        for entry in file.namelist():
            out.writestr(entry, file.read(entry))
    with pytest.raises(ContractileError, match=r"z\.pth: is compressed inside \(.*\); give the checkpoint"):
        import_weights(tmp_path / "z.pth", tmp_path / "m.safetensors")
    torch.save({"outc.conv.weight": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "e.pth")
    with pytest.raises(ContractileError, match=r"e\.pth: declares more numbers than it holds; give the checkpoint"):
        import_weights(tmp_path / "e.pth", tmp_path / "m.safetensors")


def test_what_is_no_table_of_weights_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(ContractileError, match=r"w\.pth: must hold weights by name, got list"):
        import_weights(tmp_path / "w.pth", tmp_path / "m.safetensors")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NotFound, match=r"nothing\.pth: does not exist, or is no file; give the checkpoint"):
        import_weights(tmp_path / "nothing.pth", tmp_path / "m.safetensors")


def test_wrong_settings_are_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(
        ContractileError, match=r"scale must be from 0\.0625 to 1, got 2; use that of train\.py, e\.g\."
    ):
        import_weights(tmp_path / "w.pth", tmp_path / "m.safetensors", scale=2)
    with pytest.raises(ContractileError, match=r"out must name a \.safetensors file, got .*m\.pth; write e\.g\. model"):
        import_weights(tmp_path / "w.pth", tmp_path / "m.pth")
    monkeypatch.chdir(tmp_path)
    status, _, told = call(capsys, "import", "w.pth", "--out", "m.safetensors", "--from", "keras")
    assert (status, told.strip()) == (2, "contractile: --from must be one of milesial, got keras; write milesial")
    status, _, told = call(capsys, "import", "w.pth", "--out", "m.safetensors", "--scale", "half")
    assert (status, told.strip()) == (2, "contractile: --scale must be a number, got 'half'; give e.g. --scale 0.5")


def test_a_model_of_somebody_is_not_replaced(tmp_path):
    (tmp_path / "m.safetensors").write_text("mine")
    with pytest.raises(ContractileError, match=r"m\.safetensors"):
        import_weights(put(tmp_path / "w.pth", Theirs(1, 2, depth=1)), tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_text() == "mine"

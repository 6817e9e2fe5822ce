"""Model files that are damaged, that do not fit themselves, or that somebody made up: one line each."""

import errno
import json
import os
import random
import struct

import pytest
import safetensors
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from safetensors.torch import save as serialise

from contractile.errors import ContractileError, NotFound, OutOfMemory
from contractile.model import PRETRAINED, Model, ModelCard, files, load, read_card, save
from contractile.model.fit import list_shapes
from contractile.model.header import LARGEST_HEADER
from contractile.unet import UNet, UNetConfig

CONFIG = UNetConfig(width=2, depth=2, classes=3)
FIRST = "contract.0.0.weight"
UNREADABLE, UNUSABLE = "has a card this version cannot read", "has a card that cannot be used"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a sound file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    card = ModelCard(network=CONFIG, task="objects", diameter=12.0, diameters=(8.0, 20.0), any_size=True)
    save(Model(UNet(CONFIG).eval(), card), path)
    return path.read_bytes()


@pytest.fixture
def refused(whole, tmp_path):
    """A function that changes card, header or body of the file, and gives the one line with which it is refused."""

    def attempt(*, card=None, header=None, body=None, old=False):
        table, values = split(whole)
        fields = json.loads(table["__metadata__"]["contractile"])
        if old:
            fields = {key: fields[key] for key in fields if key not in ("format_version", "checksum")}
        fields = card(fields) or fields if card else fields
        table["__metadata__"]["contractile"] = fields if isinstance(fields, str) else json.dumps(fields)
        table = header(table) or table if header else table
        return refuse(tmp_path, join(table, body(values, table) if body else values))

    return attempt


def split(content):
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(table, values):
    header = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header + values


def refuse(folder, content):
    path = folder / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ContractileError) as caught:
        load(path)
    assert caught.value.where == str(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800
    with pytest.raises(ContractileError) as again:  # `info` says the same
        read_card(path)
    assert str(again.value) == str(caught.value)
    return f"{caught.value.problem}; {caught.value.cure}"


def network(**fields):
    return lambda card: card["network"].update(fields)


def top(**fields):
    return lambda card: card.update(fields)


def decoding(**fields):
    return lambda card: card["decoding"].update(fields)


CARDS = {
    "another width": (network(width=3), r"\(network.width must be that of its tensors, 2, got 3\)"),
    "another depth": (network(depth=5), r"\(network.depth must be that of its tensors, 2, got 5\)"),
    "more channels": (network(channels=3), r"\(network.channels must be that of its tensors, 1, got 3\)"),
    "fewer classes": (network(classes=2), r"\(network.classes must be that of its tensors, 3, got 2\)"),
    "3-D": (lambda card: card.update(any_size=False) or network(dims=3)(card), r"network.dims must be .* 2, got 3\)"),
    "no norm": (network(norm="none"), r"\(network.norm must be that of its tensors, batch, got none\)"),
    "another head": (network(head_kernel=3), r"head.weight must have shape \(3, 2, 3, 3\), got \(3, 2, 1, 1\)\)"),
    "flat": (network(flat_levels=[1, 0]), r"contract.0.0.weight must have shape \(2, 1, 1, 3\), got \(2, 1, 3, 3\)"),
    "norms after up": (
        network(activate_up=True),
        r"\(tensors are missing: up.0.1.bias, up.0.1.num_batches_tr.*, \.\.\.",
    ),
    "tied": (network(symmetry="square", width=8), r"\(network.symmetry must be none, .* got square\)"),
    "sigmoid of three": (network(sigmoid=True), r"\(network: sigmoid must be true exactly when classes is 1"),
    "huge width": (network(width=10**6), r"\(network.width: .*, got 1000000\)|network.width must be .* got 1000000"),
    "huge depth": (network(depth=60), rf"{UNREADABLE} \(network.depth: .* 8, got 60\)"),
    "wide and deep": (network(width=24, depth=8), r"network.width must be|network must have at most"),
    "a million classes": (network(classes=10**6), r"\(network.classes: .*1000000\)|network.classes must be"),
    "width of 4000 digits": (network(width=10**4000), r"network.width"),
    "no width": (network(width=0), rf"{UNREADABLE} \(network.width: .*1, got 0\); use the version"),
    "new part of the network": (
        network(attention=True),
        r"\(network.attention: .*\); a later version .*: update with pip",
    ),
    "new field": (
        top(flavour="sweet"),
        r"\(flavour: .*\); a later version of contractile .* pip install -U contractile",
    ),
    "format 99": (
        top(format_version=99, flavour=1),
        r"was written by a later version of contractile \(its format_version is 99, and this one reads up to 2\); "
        r"update with pip install -U contractile",
    ),
    "format of 4000 digits": (top(format_version=10**4000), r"later version .* is 10{59}\.\.\., and"),
    "format 0": (top(format_version=0), rf"{UNREADABLE} \(format_version must be a whole number from 1, got 0\); copy"),
    "format in words": (top(format_version="two"), r"format_version must be a whole number from 1, got 'two'\)"),
    "format true": (top(format_version=True), r"format_version must be a whole number from 1, got True\)"),
    "a number as checksum": (top(checksum=7), r"\(checksum must be a text, got 7\)"),
    "classes without values": (top(task="classes"), r"class_values must hold one value for each of the 3 .*, got 0\)"),
    "too few values": (top(task="classes", class_values=[0, 1]), r"for each of the 3 classes .* got 2\); give as many"),
    "equal values": (top(task="classes", class_values=[0, 1, 1]), r"must differ from each other, got \(0, 1, 1\)\)"),
    "value of 2^31": (top(class_values=[0, 2**31]), rf"{UNREADABLE} \(class_values.1: .*, got 2147483648\)"),
    "value of 2^70": (top(class_values=[0, 2**70]), r"\(class_values.1: .*, got 1180591620717411303424\)"),
    "value below": (top(class_values=[-(2**31) - 1]), r"\(class_values.0: .*, got -2147483649\)"),
    "unknown task": (top(task="flies"), rf"{UNREADABLE} \(task: .*, got 'flies'\)"),
    "diameter 0": (top(diameter=0), r"\(diameter: .* 0.5, got 0\)"),
    "negative diameter": (top(diameter=-5), r"\(diameter: .* 0.5, got -5\)"),
    "diameter NaN": (top(diameter=float("nan")), r"\(diameter: .*, got nan\)"),
    "tiny diameter": (top(diameter=1e-300), r"\(diameter: .* 0.5, got 1e-300\)"),
    "huge diameter": (top(diameter=1e9, diameters=[1e9, 1e9]), r"\(diameter: .*, got 1000000000.0\)"),
    "infinite diameters": (top(diameters=[1, float("inf")]), r"\(diameters.1: .*, got inf\)"),
    "diameters swapped": (
        top(diameters=[40, 2]),
        r"\(diameters must be a small and a large one around diameter 12.0, got",
    ),
    "diameter outside": (top(diameter=30), r"around diameter 30.0, got 8.0, 20.0\); give the smaller one first"),
    "one diameter": (top(diameters=[8]), r"\(diameters.1: "),
    "no diameter": (top(diameter=None, diameters=None), r"any_size needs a diameter .*, got diameter None"),
    "pixels of -1": (top(pixel_size_um=[-1, 1]), r"\(pixel_size_um.0: .* 0, got -1\)"),
    "pixels of NaN": (top(pixel_size_um=[1, float("nan")]), r"\(pixel_size_um.1: .*, got nan\)"),
    "long axes": (top(axes="Y" * 1000), r"\(axes: .*16 char"),
    "low above high": (
        top(normalization={"kind": "percentile", "low": 99, "high": 1}),
        rf"{UNUSABLE} \(normalization: low must be below high, got 99.0 and 1.0\); use 1 and 99.8",
    ),
    "low of NaN": (top(normalization={"low": float("nan")}), r"\(normalization.low: .*, got nan\)"),
    "unknown normalization": (top(normalization={"kind": "magic"}), r"\(normalization.kind: .*, got 'magic'\)"),
    "threshold NaN": (decoding(threshold=float("nan")), r"\(decoding.threshold: .*, got nan\)"),
    "threshold 2": (decoding(threshold=2), r"\(decoding.threshold: .* 1, got 2\)"),
    "smooth infinite": (decoding(smooth=float("inf")), r"\(decoding.smooth: .* 9, got inf\)"),
    "huge least size": (decoding(min_size=10**30), r"\(decoding.min_size must be less than 2\^31 pixels, got 10{30}\)"),
    "huge pieces": (decoding(split=10**30), r"\(decoding.split must be less than 2\^31 pixels, got 10{30}\)"),
    "no decoding": (
        lambda card: card.pop("decoding") and None,
        rf"{UNREADABLE} \(decoding is missing\); copy the file",
    ),
    "no normalization": (lambda card: card.pop("normalization") and None, r"\(normalization is missing\)"),
    "no network": (lambda card: card.pop("network") and None, r"\(network: "),
    "scores in words": (top(scores={"ap": "high"}), r"\(scores.ap: .*, got 'high'\)"),
    "a list": (lambda card: "[1]", rf"{UNREADABLE} \(it must hold named fields, got \[1\]\); copy the file again"),
    "no JSON": (lambda card: "{", rf"{UNREADABLE} \(no JSON: .*\); copy the file again, or train again"),
    "deep JSON": (lambda card: "[" * 100000, rf"{UNREADABLE} \(no JSON: "),
    "escapes": (top(task="\x1b[31m"), r"got '\\+x1b\[31m'\)"),
    "name with escapes": (lambda card: card.update({"\x1b[2J": 1}), r"\(\\x1b\[2J: "),
}


@pytest.mark.parametrize("case", CARDS)
@pytest.mark.parametrize("old", [False, True])
def test_a_card_that_cannot_be_is_refused(refused, case, old):
    change, pattern = CARDS[case]
    if old and case == "a number as checksum":
        pattern = r"checksum must be a text"
    assert_matches(pattern, refused(card=change, old=old))


def assert_matches(pattern, line):
    with pytest.raises(ValueError, match=pattern):  # so that a failure shows both
        raise ValueError(line)


def test_what_the_header_tells_is_refused_before_a_network_or_a_tensor(refused, monkeypatch):
    monkeypatch.setattr(files, "StoredUNet", None)
    monkeypatch.setattr(files, "deserialize", None)
    for change, pattern in CARDS.values():
        assert_matches(pattern, refused(card=change))


def rename(old, new):
    return lambda table: table.update({new: table.pop(old)})


def tensor(**fields):
    return lambda table: table[FIRST].update(fields)


HEADERS = {
    "whole numbers": (tensor(dtype="I32"), rf"tensor {FIRST} must hold numbers of type F64, F32, F16, BF16, got I32"),
    "unknown numbers": (tensor(dtype="\x1b[31m"), r"must hold numbers of type .*, got \\x1b\[31m"),
    "other numbers": (tensor(dtype="F64"), rf"the bytes of tensor {FIRST} are not where its shape says"),
    "another shape": (tensor(shape=[2, 1, 3, 4]), rf"the bytes of tensor {FIRST} are not where"),
    "huge shape": (tensor(shape=[10**9] * 4), rf"the bytes of tensor {FIRST} are not where"),
    "swapped shape": (tensor(shape=[1, 2, 3, 3]), r"network.width must be that of its tensors, 1, got 2"),
    "flat shape": (tensor(shape=[18]), rf"tensor {FIRST} must have shape \(2, 1, 3, 3\), got \(18,\)"),
    "negative shape": (tensor(shape=[-2, 1, 3, 3]), r"its header has .*shape.0: .*-2"),
    "no shape": (lambda table: table[FIRST].pop("shape") and None, r"its header has .*shape: "),
    "no table": (lambda table: table.update({FIRST: 7}), r"its header has contract"),
    "missing": (rename(FIRST, "evil"), rf"\(tensors are missing: {FIRST}\)"),
    "one more": (
        lambda table: table.update(evil={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}),
        r"\(tensors that it does not have: evil\); copy it again, or train it again",
    ),
    "a counter of floats": (
        lambda table: table["contract.0.1.num_batches_tracked"].update(dtype="F64"),
        r"tensor contract.0.1.num_batches_tracked must hold numbers of type I64, got F64; train it again",
    ),
    "no metadata": (lambda table: table.pop("__metadata__") and None, r"has no contractile card in its metadata; give"),
    "metadata in a list": (lambda table: table.update({"__metadata__": ["contractile"]}), r"has no contractile card"),
    "card as a table": (
        lambda table: table.update({"__metadata__": {"contractile": {"network": {}}}}),
        r"has no contractile card in its metadata",
    ),
    "a list": (lambda table: b"[[]]", r"\(its header must be a table of tensors\)"),
    "no JSON": (lambda table: b"{{", r"\(its header is no JSON: "),
    "deep JSON": (lambda table: b"[" * 100000, r"\(its header is no JSON: "),
    "no text": (lambda table: b"\xff\xfe\x00", r"\(its header is no JSON: "),
    "spaces": (lambda table: b"{" + b" " * LARGEST_HEADER + b"}", r"its header must have 2 to \d+ bytes, got \d+\)"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_does_not_fit_is_refused(refused, case):
    change, pattern = HEADERS[case]
    assert_matches(pattern, refused(header=change))


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (b"", r"\(its header should have 0 bytes, and 0 are there\); give the model.safetensors"),
        (b"\x02\x00\x00", r"\(its header should have 2 bytes, and 0 are there\)"),
        (struct.pack("<Q", 2**62) + b"{}", r"should have 4611686018427387904 bytes, and 2 are there\)"),
        (struct.pack("<Q", 2**64 - 1) + b"{}", r"should have 18446744073709551615 bytes, and 2 are there\)"),
        (struct.pack("<Q", 0) + b"{}", r"its header must have 2 to 4194304 bytes, got 0\)"),
        (struct.pack("<Q", 2) + b"{}", r"has no contractile card in its metadata"),
        (b"\x80\x04\x95\x0a\x00\x00\x00\x00" + b"pickle", r"cannot be read as safetensors"),
        (b"PK\x03\x04" + b"\x00" * 60, r"cannot be read as safetensors"),
    ],
)
def test_what_is_no_safetensors(tmp_path, content, pattern):
    assert_matches(pattern, refuse(tmp_path, content))


def test_a_header_of_90_mb_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 90_000_000) + b"{")
        file.truncate(90_000_008)
    monkeypatch.setattr("json.loads", None)
    with pytest.raises(ContractileError, match=r"its header must have 2 to 4194304 bytes, got 90000000\)"):
        load(path)


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda body, _: body[:-1], r"its tensors should have \d+ bytes, and \d+ are there"),
        (lambda body, _: body + b"x", r"its tensors should have \d+ bytes, and \d+ are there"),
        (lambda body, _: b"", r"its tensors should have \d+ bytes, and 0 are there"),
    ],
)
def test_a_body_of_another_length(refused, change, pattern):
    assert_matches(pattern, refused(body=change))


def put(name, number):
    def change(body, table):
        end = table[name]["data_offsets"][1]
        return body[: end - 4] + struct.pack("<f", number) + body[end:]

    return change


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", [FIRST, "head.bias", "expand.1.4.running_mean"])
def test_numbers_that_are_none_are_found_without_a_checksum(refused, number, name):
    line = refused(body=put(name, number), old=True)
    assert line == f"is damaged: tensor {name} holds NaN or infinite numbers; copy it again"


def test_a_negative_variance_is_found_without_a_checksum(refused):
    line = refused(body=put("contract.0.1.running_var", -1.0), old=True)
    assert line == "is damaged: tensor contract.0.1.running_var holds negative numbers; copy it again"


@pytest.mark.parametrize("number", [0.123, 1e30, float("nan")])
def test_any_other_number_is_found_with_a_checksum(refused, number):
    assert refused(body=put(FIRST, number)) == "is damaged: its checksum does not fit; copy it again"


@pytest.mark.parametrize(
    "change",
    [
        top(description="another"),
        decoding(threshold=0.45),
        network(padding="valid"),
        top(normalization={"kind": "none"}),
        top(checksum="0" * 64),
        top(checksum=""),
    ],
)
def test_a_card_that_was_changed_by_hand_is_found(refused, change):
    assert refused(card=change) == "is damaged: its checksum does not fit; copy it again"


def test_a_lost_checksum_is_found(refused):
    assert refused(card=lambda card: card.pop("checksum") and None) == "is damaged: it has no checksum; copy it again"


def test_no_flipped_bit_of_a_model_is_used(whole, tmp_path):
    rng = random.Random(0)
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    places = [rng.randrange(8 * len(whole)) for _ in range(75)] + [rng.randrange(8 * header) for _ in range(75)]
    for place in places:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        refuse(tmp_path, damaged)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_no_mutation_of_a_model_is_used(whole, tmp_path_factory, data):
    """Cut, repeated, removed and overwritten pieces."""
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    put_in = data.draw(st.sampled_from([b"", bytes(8), whole[begin:end] * 2, whole[:100], b"\xff" * (end - begin)]))
    damaged = whole[:begin] + put_in + whole[end:]
    if damaged != whole:
        refuse(tmp_path_factory.mktemp("m"), damaged)


def test_files_of_the_first_format_are_read_without_a_word(whole, tmp_path, caplog):
    table, values = split(whole)
    fields = json.loads(table["__metadata__"]["contractile"])
    assert (fields.pop("format_version"), len(fields.pop("checksum"))) == (2, 64)
    table["__metadata__"] = {"contractile": json.dumps(fields), "format": "pt"}
    (tmp_path / "old.safetensors").write_bytes(join(table, values))
    (tmp_path / "new.safetensors").write_bytes(whole)
    old, new = load(tmp_path / "old.safetensors"), load(tmp_path / "new.safetensors")
    assert old.card == new.card
    assert all(torch.equal(one, new.network.state_dict()[name]) for name, one in old.network.state_dict().items())
    assert not caplog.records


def test_the_same_model_gives_the_same_bytes(whole, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(whole)
    save(load(tmp_path / "a.safetensors"), tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == whole


def test_scores_that_are_no_numbers_and_odd_letters_come_back(tmp_path):
    provenance = {"command": ["train", "a\udcff.tif", "é"], "loss": float("nan")}  # names that are no UTF-8
    card = ModelCard(network=CONFIG, task="objects", scores={"f1": float("nan"), "ap": 0.5}, provenance=provenance)
    save(Model(UNet(CONFIG).eval(), card), tmp_path / "m.safetensors")
    again = read_card(tmp_path / "m.safetensors")
    assert again.scores == {"ap": 0.5}
    assert again.provenance == {"command": ["train", "a\udcff.tif", "é"], "loss": None}


def test_scores_that_earlier_versions_wrote_as_null_are_left_out(whole, tmp_path):
    table, values = split(whole)
    fields = json.loads(table["__metadata__"]["contractile"]) | {"scores": {"f1": None, "ap": 0.5}}
    fields = {key: fields[key] for key in fields if key not in ("format_version", "checksum")}
    table["__metadata__"]["contractile"] = json.dumps(fields)
    (tmp_path / "m.safetensors").write_bytes(join(table, values))
    assert read_card(tmp_path / "m.safetensors").scores == {"ap": 0.5}


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_models_that_come_with_the_package_have_checksums(name):
    with safetensors.safe_open(PRETRAINED[name], framework="pt") as file:
        card = json.loads(file.metadata()["contractile"])
    assert card["format_version"] == 2
    assert len(card["checksum"]) == 64


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        lambda dims, flat, **others: UNetConfig(
            dims=dims, flat_levels=tuple(min(n, others["depth"]) for n in flat[:dims]), **others
        ),
        dims=st.sampled_from([2, 3]),
        flat=st.tuples(*[st.integers(0, 3)] * 3),
        channels=st.integers(1, 3),
        classes=st.integers(2, 4),
        width=st.integers(1, 3),
        depth=st.integers(1, 3),
        norm=st.sampled_from(["none", "batch"]),
        activate_up=st.booleans(),
        head_kernel=st.sampled_from([1, 3]),
    )
)
def test_shapes_from_arithmetic_are_those_of_the_network(config):
    shapes = dict(list_shapes(config))
    assert shapes == {name: tuple(values.shape) for name, values in UNet(config).state_dict().items()}


def test_a_model_that_takes_more_memory_than_there_is(whole, tmp_path, monkeypatch):
    class Full:
        total, available = 10**12, 1000

    path = tmp_path / "m.safetensors"
    path.write_bytes(whole)
    monkeypatch.setattr("psutil.virtual_memory", Full)
    with pytest.raises(OutOfMemory, match=r"takes 0.0 GB of memory to read, and 0.0 GB are free; close other programs"):
        load(path)


def test_a_file_that_the_library_refuses(whole, tmp_path, monkeypatch):
    def refuse_all(_):
        raise safetensors.SafetensorError("what it says")

    monkeypatch.setattr(files, "deserialize", refuse_all)
    assert_matches(r"cannot be read as safetensors \(what it says\)", refuse(tmp_path, whole))


def test_a_file_that_may_not_be_read(whole, tmp_path, monkeypatch):
    def deny(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "m.safetensors").write_bytes(whole)
    monkeypatch.setattr("pathlib.Path.open", deny)
    with pytest.raises(ContractileError, match=r"cannot be read \(Permission denied\); see to it that you may read"):
        load(tmp_path / "m.safetensors")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "m.safetensors")
    with pytest.raises(ContractileError, match=r"is no regular file; give RUN/model.safetensors"):
        load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "", "a/b/c"])
def test_names_that_no_file_can_have(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match=r"does not exist; give RUN/model\.safetensors"):
        load(name)


def test_double_precision_is_read_as_float32(whole, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(whole)
    weights = {name: one.double() if one.is_floating_point() else one for name, one in load_file(path).items()}
    fields = json.loads(split(whole)[0]["__metadata__"]["contractile"])
    fields = {key: fields[key] for key in fields if key not in ("format_version", "checksum")}
    path.write_bytes(serialise(weights, metadata={"contractile": json.dumps(fields)}))
    assert load(path).network.head.weight.dtype == torch.float32
    weights[FIRST][:] = 1e300  # beyond float32
    path.write_bytes(serialise(weights, metadata={"contractile": json.dumps(fields)}))
    with pytest.raises(ContractileError, match="holds NaN or infinite numbers"):
        load(path)

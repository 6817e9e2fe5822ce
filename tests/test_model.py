"""The model file: everything comes back, and what is not one is refused in one line."""

import json

import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import save_file

from contractile.errors import ContractileError
from contractile.model import PRETRAINED, Model, ModelCard, combine, is_model, load, read_card, save
from contractile.storage import MANIFEST
from contractile.unet import UNet, UNetConfig


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = UNetConfig(width=2, depth=2)
    card = ModelCard(
        network=config,
        class_values=(0, 255),
        pixel_size_um=(0.5, 0.5),
        scores={"iou": 0.9},
        provenance={"seed": 3},
    )
    return Model(UNet(config).eval(), card)


def test_a_model_comes_back_as_it_was(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save(model, path)
    again = load(path)
    assert again.card == model.card == read_card(tmp_path)
    x = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(again.network(x), model.network(x))
    assert {file.name for file in tmp_path.iterdir()} == {"model.safetensors", MANIFEST}


def another(model, **changes):
    """A model with a network of its own, on the same card but for some fields."""
    config = model.card.network.model_copy(update=changes.pop("network", {}))
    return Model(UNet(config).eval(), model.card.model_copy(update={"network": config, **changes}))


def test_a_model_of_several_networks_comes_back_as_it_was(model, tmp_path):
    both = combine([model, another(model, network={"depth": 1, "width": 4})])
    save(both, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.card == both.card
    assert [one.config for one in again.others] == [both.others[0].config]
    assert set(again.weights) == set(both.weights)
    assert all((again.weights[name] == value).all() for name, value in both.weights.items())
    assert again.with_card(description="both").others == again.others
    assert combine([model]) is model
    three = combine([again, model])
    assert [one.config.width for one in three.others] == [4, 2]


def test_models_that_cannot_be_averaged(model):
    with pytest.raises(ContractileError, match="models must be at least one, got none"):
        combine([])
    with pytest.raises(ContractileError, match="models must have the same class_values to be averaged"):
        combine([model, another(model, class_values=(0, 1))])
    with pytest.raises(ContractileError, match="models must give the same number of maps to be averaged, got 3 and 2"):
        combine([three := another(model, task="objects", class_values=(), network={"classes": 3}),
                 another(three, network={"classes": 2})])  # fmt: skip
    with pytest.raises(ContractileError, match="models must be of the same kind of image, got 1 channel"):
        combine([model, another(model, network={"channels": 2})])


def test_a_network_that_a_file_lacks(model, tmp_path):
    both = combine([model, another(model)])
    both.others = ()
    save(both, tmp_path / "model.safetensors")
    with pytest.raises(ContractileError, match="tensors are missing"):
        load(tmp_path / "model.safetensors")


def test_networks_of_one_model_have_the_same_classes(model):
    fields = model.card.model_dump()
    fields["others"] = [{**fields["network"], "classes": 5}]
    with pytest.raises(ContractileError, match="others must have the number of classes of the first network, 2, got 5"):
        ModelCard(**fields)


def test_networks_that_tell_two_classes_in_two_ways_are_averaged(model, tmp_path):
    one = another(model, network={"classes": 1, "sigmoid": True})
    save(combine([model, one]), tmp_path / "model.safetensors")
    assert len(load(tmp_path / "model.safetensors").others) == 1


def test_the_weights_can_be_read_without_this_package(model, tmp_path):
    from safetensors.numpy import load_file

    save(model, tmp_path / "model.safetensors")
    weights = load_file(tmp_path / "model.safetensors")
    assert (
        sum(w.size for name, w in weights.items() if name.endswith(("weight", "bias"))) == model.card.network.parameters
    )
    assert all(isinstance(w, np.ndarray) for w in weights.values())


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors: does not exist; give RUN/model\.safetensors"):
        load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00" * 100])
def test_a_file_that_is_not_safetensors(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"model\.safetensors: cannot be read as safetensors .* give the model\.safetensors"
    ):
        load(path)


def test_a_pretrained_model_goes_by_its_name(model, tmp_path, monkeypatch):
    save(model, tmp_path / "cells.safetensors")
    monkeypatch.setitem(PRETRAINED, "cells", tmp_path / "cells.safetensors")
    monkeypatch.chdir(tmp_path)
    assert load("cells").card == model.card
    assert is_model("cells")
    with pytest.raises(
        FileNotFoundError, match=r"of a finished training, or nuclei \(pretrained\), or cells \(pretrained\)"
    ):
        load("cels")
    (tmp_path / "cells").mkdir()  # of images, perhaps
    assert load("cells").card == model.card
    assert not is_model("cells")
    other = model.card.model_copy(update={"description": "a run of this name goes first"})
    save(Model(model.network, other), tmp_path / "cells" / "model.safetensors")
    assert load("cells").card == other


def test_a_truncated_model(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save(model, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        load(path)


def test_safetensors_of_something_else(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="has no contractile card in its metadata"):
        load(tmp_path / "other.safetensors")


def test_a_card_from_another_version(tmp_path):
    save_file(
        {"a": torch.zeros(1)},
        tmp_path / "m.safetensors",
        metadata={"contractile": '{"network": {"wings": 2}}'},
    )
    with pytest.raises(
        ValueError, match=r"a card this version cannot read \(network.wings: .*, got 2\); a later version"
    ):
        load(tmp_path / "m.safetensors")


def test_a_card_that_is_no_json(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "m.safetensors", metadata={"contractile": "{"})
    with pytest.raises(ContractileError, match="a card this version cannot read") as caught:
        read_card(tmp_path / "m.safetensors")
    assert caught.value.where == str(tmp_path / "m.safetensors")


def test_retired_fields_of_a_card_are_dropped(model, tmp_path):
    card = model.card.model_dump(mode="json") | {"activation_ranges": [[0.0, 1.0], [0.0, 2.0]]}
    weights = {name: value.contiguous() for name, value in model.network.state_dict().items()}
    save_file(weights, tmp_path / "old.safetensors", metadata={"contractile": json.dumps(card)})
    again = load(tmp_path / "old.safetensors")
    assert again.card == model.card
    save(again, tmp_path / "new.safetensors")
    with safetensors.safe_open(tmp_path / "new.safetensors", framework="pt") as file:
        assert "activation_ranges" not in file.metadata()["contractile"]


def test_the_shipped_model_loads():
    assert load("nuclei").card.network == read_card("nuclei").network
    assert not hasattr(read_card("nuclei"), "activation_ranges")


def test_weights_that_are_not_those_of_the_card(model, tmp_path):
    card = model.card.model_copy(update={"network": UNetConfig(width=3, depth=2)})
    save(Model(model.network, card), tmp_path / "m.safetensors")
    reason = r"\(network.width must be that of its tensors, 2, got 3\); copy it again, or train it again"
    with pytest.raises(ValueError, match=f"does not hold the network on its card {reason}"):
        load(tmp_path / "m.safetensors")


def test_kernels_kept_in_half_precision_are_read_as_float32(model, tmp_path):
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    for parameter in model.network.parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data.half()
    save(model, tmp_path / "half.safetensors")
    for name, value in load(tmp_path / "half.safetensors").network.state_dict().items():
        assert value.dtype == before[name].dtype
        torch.testing.assert_close(value, before[name], rtol=1e-3, atol=1e-6)

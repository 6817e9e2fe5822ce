"""The state of a run: a resumed run ends as if nothing had happened, and no damaged state is used."""

import json
import math
import pickle
import random
from contextlib import suppress

import numpy as np
import pytest
import torch
from discs import TINY, folder, run, started
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save as serialise

from contractile.errors import ContractileError
from contractile.model import load
from contractile.training import folder as run_folder
from contractile.training import train
from contractile.training.saved import FORMAT, MARK, Found, Saved, _digest, decode, encode
from contractile.training.state import take_step

__all__ = ["folder"]  # a fixture

DROPPING = {"network": {"width": 8, "depth": 2, "dropout": 0.3}}


class StopError(Exception):
    pass


def resumed(folder, out="part", **changes):
    return train(folder / "images", folder / "labels", out=folder / out, recipe={**TINY, **changes}, resume=True)


def stopped(folder, at, out="part", **changes):
    """Begin a run that ends by an exception after step `at`."""

    def stop(status):
        if status.step == at:
            raise StopError

    recipe = {**TINY, **changes}
    with pytest.raises(StopError):
        train(folder / "images", folder / "labels", out=folder / out, recipe=recipe, progress=stop)


def same(one, other):
    """Whether two runs gave the same network, decoding, scores and history; clocks differ."""
    weights, others = one.model.network.state_dict(), other.model.network.state_dict()
    cards = [run.model.card.model_dump(exclude={"provenance"}) for run in (one, other)]
    history = [[{k: v for k, v in row.items() if k != "seconds"} for row in run.history] for run in (one, other)]
    equal = all(torch.equal(weights[name], others[name]) for name in weights | others)
    return equal and cards[0] == cards[1] and history[0] == history[1]


@pytest.mark.parametrize("every", [0.0, 1e9], ids=["saved after each step", "saved at validations"])
@pytest.mark.parametrize("at", [1, 6, 8, 12])
def test_an_interrupted_run_ends_where_it_would_have(folder, monkeypatch, at, every):
    whole = run(folder, "whole", **DROPPING)
    monkeypatch.setattr(run_folder, "SAVED_EVERY", every)
    stopped(folder, at, **DROPPING)
    expected = {0.0: at, 1e9: 6 * (at // 6)}[every]
    assert decode(folder / "part" / "state.ckpt").saved.step == expected
    assert same(whole, resumed(folder, **DROPPING))
    (folder / "part" / "history.csv").unlink()  # killed before it was written
    assert same(whole, resumed(folder, **DROPPING))  # the model is completed a second time
    first, second = ((folder / name / "history.csv").read_text() for name in ("whole", "part"))
    assert first.count("\n") == second.count("\n")


def test_a_run_is_saved_once_a_minute_by_the_clock(folder, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(run_folder.time, "monotonic", lambda: now[0])

    def work(status):
        if status.step == 11:
            raise StopError
        now[0] += 25

    with pytest.raises(StopError):
        train(folder / "images", folder / "labels", out=folder / "part", recipe=TINY, progress=work)
    assert run_folder.SAVED_EVERY < 60
    # saved at steps 0, 3 (50 s later), 5, 6 (a validation), 8 and 10
    assert decode(folder / "part" / "state.ckpt").saved.step == 10
    manifest = (folder / "part" / ".contractile.jsonl").read_text()
    assert manifest.count('"file": "state.ckpt"') == 6


def test_losses_since_the_last_row_count_in_the_next(folder, monkeypatch):
    monkeypatch.setattr(run_folder, "SAVED_EVERY", 0.0)
    monkeypatch.setattr("contractile.training.loop.LOGGED_ROWS", 4)  # a row in three steps
    whole = run(folder, "whole")
    assert [row["step"] for row in whole.history if "loss" in row] == [3, 6, 9, 12]
    stopped(folder, 8)
    assert len(decode(folder / "part" / "state.ckpt").saved.losses) == 2
    assert same(whole, resumed(folder))


@pytest.mark.parametrize("kind", ["sgd", "adamw", "muon"])
@pytest.mark.parametrize("symmetry", ["none", "square"])
def test_a_state_goes_on_from_its_file(tmp_path, kind, symmetry):
    changes = {"network": {"width": 8, "depth": 2, "symmetry": symmetry, "dropout": 0.3}, "optimizer": {"kind": kind}}
    whole, samples = started(**changes)
    for number in range(2):
        take_step(whole, samples.batch(number))
    path = tmp_path / "state.ckpt"
    path.write_bytes(b"".join(encode(whole.saved(), whole.tensors())))
    rest = [take_step(whole, samples.batch(number)) for number in (2, 3)]
    other, _ = started(**changes)
    other.restore(*decode(path))
    assert (other.step, other.recipe) == (2, whole.recipe)
    assert [take_step(other, samples.batch(number)) for number in (2, 3)] == rest
    assert other.losses == whole.losses
    for one, another in zip(whole.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(one, another)
        assert one.stride() == another.stride()


finite = st.floats(allow_nan=False)


@given(losses=st.lists(finite, max_size=3), history=st.lists(st.dictionaries(st.text(max_size=3), finite), max_size=2))
def test_numbers_come_back_bit_for_bit(losses, history):
    saved = started()[0].saved().model_copy(update={"losses": losses, "history": history, "best": 0.1 + 0.2})
    back = Saved.model_validate_json(saved.model_dump_json())
    assert back == saved
    assert [math.copysign(1, value) for value in back.losses] == [math.copysign(1, value) for value in losses]


@pytest.fixture(scope="module")
def small():
    """The content of a small state after one step."""
    state, samples = started()
    take_step(state, samples.batch(0))
    return state.saved(), state.tensors()


def read(tmp_path, content):
    (tmp_path / "state.ckpt").write_bytes(content)
    return decode(tmp_path / "state.ckpt")


def test_no_mutation_of_a_state_is_used(tmp_path, small):
    whole = b"".join(encode(*small))
    assert len(whole) < 40_000
    rng = random.Random(0)
    for number in range(300):
        mutated, at = bytearray(whole), rng.randrange(len(whole))
        kind = number % 4
        if kind == 0:
            mutated[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del mutated[at:]
        elif kind == 2:
            mutated[at : at + rng.randrange(1, 200)] = rng.randbytes(rng.randrange(200))
        else:
            mutated += rng.randbytes(rng.randrange(1, 50))
        if bytes(mutated) != whole:
            with pytest.raises(ContractileError, match=r"state.ckpt: (is|cannot) .*start anew with --overwrite"):
                read(tmp_path, bytes(mutated))


def sealed(text, tensors):
    """A state with a checksum that fits, whatever it holds."""
    pieces = [len(text).to_bytes(8, "little"), text, tensors]
    return b"".join([MARK + FORMAT, _digest(pieces), *pieces])


def test_what_fits_its_checksum_is_looked_at_all_the_same(tmp_path, small):
    """Somebody else can write a checksum, too: a line, or a state that goes on, never a traceback."""
    text, tensors = small[0].model_dump_json().encode(), serialise(small[1])
    rng = random.Random(0)
    for _ in range(150):
        parts = [bytearray(text), bytearray(tensors)]
        one = parts[rng.randrange(2)]
        for _ in range(rng.randrange(1, 4)):
            one[rng.randrange(min(len(one), 6000))] = rng.randrange(256)
        state, samples = started()
        with suppress(ContractileError):
            state.restore(*read(tmp_path, sealed(*map(bytes, parts))))
            take_step(state, samples.batch(0))


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


def with_nan(tensors, name, value=math.nan):
    return {**tensors, name: torch.full_like(tensors[name], value)}


HEAD = "network.head.weight"
MOMENT = "optimizer.0.exp_avg"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: {**t, "extra": torch.zeros(1)}, r"with its recipe \(extra does not fit\)"),
        (lambda t: without(t, HEAD), rf"with its recipe \({HEAD} does not fit\)"),
        (lambda t: without(t, "random"), r"with its recipe \(random does not fit\)"),
        (lambda t: {**t, HEAD: t[HEAD][:1]}, rf"with its recipe \({HEAD} does not fit\)"),
        (lambda t: {**t, HEAD: t[HEAD].double()}, rf"with its recipe \({HEAD} does not fit\)"),
        (lambda t: {**t, MOMENT: t[MOMENT][:, :, :1].contiguous()}, rf"with its recipe \({MOMENT} does not fit\)"),
        (lambda t: {**t, "optimizer.999.exp_avg": t[MOMENT].clone()}, r"optimizer.999.exp_avg does not fit"),
        (lambda t: with_nan(t, HEAD), rf"is damaged \({HEAD} holds values that are no numbers\)"),
        (lambda t: with_nan(t, HEAD, math.inf), rf"is damaged \({HEAD} holds values that are no numbers\)"),
        (lambda t: with_nan(t, MOMENT), rf"is damaged \({MOMENT} holds values that are no numbers\)"),
        (lambda t: {"random": t["random"]}, r"is damaged \(it does not hold the network of its recipe\)"),
        (lambda t: {**t, "random": torch.zeros_like(t["random"])}, "the state of the random numbers is damaged"),
    ],
)
def test_foreign_tensors_are_refused(tmp_path, small, change, told):
    state, _ = started()
    with pytest.raises(ContractileError, match=told + ".*; start anew with --overwrite"):
        state.restore(*read(tmp_path, b"".join(encode(small[0], change(small[1])))))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"step": 13}, r"is damaged \(step 13 of 12 steps"),
        ({"validated": 2}, r"is damaged \(step 1 of 12 steps, validated at step 2\)"),
        ({"step": -1}, r"is not the state of a run \(step: must be greater than or equal to 0, got -1\)"),
        ({"losses": "many"}, r"is not the state of a run \(losses: must be a valid array, got 'many'\)"),
        ({"surplus": 1}, r"is not the state of a run \(surplus: does not exist, got 1\)"),
        ({"recipe": {}}, r"is not the state of a run \(recipe"),
    ],
)
def test_foreign_descriptions_are_refused(tmp_path, small, change, told):
    text = json.dumps({**json.loads(small[0].model_dump_json()), **change}).encode()
    with pytest.raises(ContractileError, match=told):
        read(tmp_path, sealed(text, serialise(small[1])))


def test_a_recipe_that_is_too_large_for_its_tensors_is_refused_before_a_network_is_made(tmp_path, small):
    recipe = small[0].recipe
    wide = recipe.model_copy(update={"network": recipe.network.model_copy(update={"width": 512})})
    with pytest.raises(ContractileError, match="it does not hold the network of its recipe"):
        read(tmp_path, b"".join(encode(small[0].model_copy(update={"recipe": wide}), small[1])))


class Evil:
    def __reduce__(self):
        return open, ("evil", "w")


@pytest.mark.parametrize("kind", ["pickle", "torch", "npy", "empty", "text"])
def test_foreign_files_run_no_code(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "state.ckpt"
    if kind == "torch":
        torch.save({"network": Evil()}, path)
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, np.array([Evil()], dtype=object), allow_pickle=True)
    else:
        path.write_bytes({"pickle": pickle.dumps(Evil()), "empty": b"", "text": b"state"}[kind])
    with pytest.raises(ContractileError, match=r"state.ckpt: is not the state of a run") as caught:
        decode(path)
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "evil").exists()


def test_a_state_of_another_version_names_it(tmp_path, small):
    content = b"".join(encode(*small)).replace(MARK + FORMAT, MARK + b"2\n")
    with pytest.raises(
        ContractileError, match=r"is of state format '2', and this version reads '1'; resume with the v"
    ):
        read(tmp_path, content)


def test_a_state_beyond_all_sizes_is_not_read(tmp_path, small):
    with (tmp_path / "state.ckpt").open("wb") as file:
        file.write(b"".join(encode(*small)))
        file.truncate(2**34)  # a hole
    with pytest.raises(ContractileError, match=r"is damaged \(it is too large\)"):
        decode(tmp_path / "state.ckpt")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "state.ckpt").mkdir()
    with pytest.raises(ContractileError, match=r"state.ckpt: cannot be read \(Is a directory\)"):
        decode(tmp_path / "state.ckpt")


def test_the_model_must_be_the_one_that_the_run_kept(folder):
    stopped(folder, 8)
    model = folder / "part" / "model.safetensors"
    kept = model.read_bytes()
    model.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"the model that the run kept at step 6 is not there; put back the file"
    ):
        resumed(folder)
    run(folder, "other", seed=1)
    model.write_bytes((folder / "other" / "model.safetensors").read_bytes())
    (folder / "part" / ".contractile.jsonl").unlink()
    with pytest.raises(ContractileError, match="is not the model that the run kept at step 6; put back the file"):
        resumed(folder)
    model.write_bytes(kept)
    assert load(resumed(folder).folder).card.provenance["step"] in (6, 12)


def test_found_is_what_was_saved(small, tmp_path):
    found = read(tmp_path, b"".join(encode(*small)))
    assert isinstance(found, Found)
    assert found.saved == small[0]
    assert all(torch.equal(found.tensors[name], value) for name, value in small[1].items())

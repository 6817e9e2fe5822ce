"""Model files: written, found and read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as serialise

from contractile.errors import ContractileError, NotFound, OutOfMemory
from contractile.memory import free_memory
from contractile.model.card import ModelCard, parse_card, write_card
from contractile.model.fit import check_fit, divide
from contractile.model.header import CURE, METADATA_KEY, Header, read_header, shown
from contractile.model.seal import EMPTY, is_whole, seal
from contractile.storage import replacing
from contractile.unet import StoredUNet

if TYPE_CHECKING:
    from contractile.unet import UNet

PRETRAINED_FOLDER = Path(__file__).parents[1] / "pretrained"
PRETRAINED = {path.stem: path for path in sorted(PRETRAINED_FOLDER.glob("*.safetensors"))}
WEIGHT = 4  # bytes of a weight in the network
NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8"}  # of a file, as NumPy names them
AGAIN = "copy it again"
SHARED = ("task", "class_values", "normalization", "shrunk", "any_size")  # fields of models that are averaged


class Model:
    """A network and its card. A model that was read from a file builds its `network` when that is first asked for.

    `stored` is the network as configuration and weights, which need no PyTorch. `others` are further networks of the
    model: what it says is the mean of what all of them say.
    """

    def __init__(
        self, network: UNet | StoredUNet, card: ModelCard, *, others: Sequence[UNet | StoredUNet] = ()
    ) -> None:
        """The networks of `others` may be of any size; the card is told of them."""
        self._stored, self.others = StoredUNet.of(network), tuple(map(StoredUNet.of, others))
        self._card = card.model_copy(update={"others": tuple(one.config for one in self.others)})

    @property
    def network(self) -> UNet:
        return self._stored.network

    @property
    def stored(self) -> StoredUNet:
        return self._stored

    @property
    def weights(self) -> dict[str, NDArray[Any]]:
        """The weights of all networks by name; those of the others begin with their number, from 1."""
        found = dict(self._stored.weights)
        for number, one in enumerate(self.others, start=1):
            found |= {f"{number}/{name}": values for name, values in one.weights.items()}
        return found

    @property
    def card(self) -> ModelCard:
        return self._card

    def with_card(self, **changes: Any) -> Model:
        """The same network with a card of which some fields are others."""
        return Model(self._stored, self._card.model_copy(update=changes), others=self.others)


def save(model: Model, path: str | Path) -> None:
    """Write the model file. An old one is replaced when the new one is complete. Raises NotWritten, NotWritable.

    The same weights and card give the same bytes.
    """
    content = serialise(
        model.weights, metadata={METADATA_KEY: write_card(model.card, EMPTY)}
    )  # one entry: it keeps no order
    with replacing(Path(os.path.expanduser(path))) as partial:
        partial.write_bytes(seal(content))


def is_model(path: str | Path) -> bool:
    """Whether `path` ends like a model file, is a folder that holds one, or is the name of a pretrained model.

    Something else of that name, such as a folder of images, goes before the pretrained model.
    """
    path = Path(path) if os.path.exists(path) else _find(Path(path))
    return path.suffix.lower() == ".safetensors" or os.path.isfile(path / "model.safetensors")


def read_card(path: str | Path) -> ModelCard:
    """The card alone, of a file that is as sound as `load` asks. Raises as `load`."""
    return load(path).card


def load(path: str | Path) -> Model:
    """Read a model file, the one in a run folder, or a pretrained model by its name. Files go before names.

    Raises NotFound; ContractileError for a file that is not a model of this package, whose card does not fit its
    tensors, that a later version wrote, or that is damaged; and OutOfMemory. All but damage is found in the header,
    before a tensor is read or a network built.
    """
    path = _locate(Path(path))
    try:
        with path.open("rb") as file:
            header = read_header(file, path)
            card, checksum = _check(header, path)
            body = file.read(header.body)
    except OSError as error:
        cure = "see to it that you may read the file"
        raise ContractileError(f"cannot be read ({error.strerror or error})", cure, where=path) from error
    if checksum is not None and not is_whole(header.raw, body, checksum):
        raise ContractileError("is damaged: its checksum does not fit", AGAIN, where=path)
    weights = _read_weights(header.raw + body, path)
    first, *others = [
        StoredUNet(config, {name: weights[f"{start}{name}"] for name in part})
        for start, config, part in divide(card, weights)
    ]
    return Model(first, card, others=others)


def combine(models: Sequence[Model]) -> Model:
    """One model that says the mean of what `models` say. The card is that of the first one.

    Raises ContractileError for none, and for models that do not see images or name classes in the same way.
    """
    if not models:
        raise ContractileError("models must be at least one, got none", "name a model file")
    first = models[0].card
    for model in models[1:]:
        for field in SHARED:
            one, other = (getattr(card, field) for card in (first, model.card))
            if one != other:
                problem = f"models must have the same {field} to be averaged, got {shown(one)} and {shown(other)}"
                raise ContractileError(problem, "predict with each of them alone")
        maps, others = (card.network.maps for card in (first, model.card))
        if maps != others:
            problem = f"models must give the same number of maps to be averaged, got {maps} and {others}"
            raise ContractileError(problem, "predict with each of them alone")
        if (first.network.dims, first.network.channels) != (model.card.network.dims, model.card.network.channels):
            told = " and ".join(f"{c.network.channels} channel(s) in {c.network.dims}-D" for c in (first, model.card))
            raise ContractileError(f"models must be of the same kind of image, got {told}", "use models of one kind")
    if len(models) == 1:
        return models[0]
    networks = [network for model in models for network in (model.stored, *model.others)]
    return Model(networks[0], first, others=networks[1:])


def _check(header: Header, path: Path) -> tuple[ModelCard, str | None]:
    """The card and the checksum of a header that fits itself. Raises as `load`."""
    try:
        written = parse_card(header.card)
        for _, config, tensors in divide(written.card, header.tensors):
            check_fit(config, tensors)
    except ContractileError as error:
        raise error.at(path) from error
    if written.version > 1 and written.checksum is None:
        raise ContractileError("is damaged: it has no checksum", AGAIN, where=path)
    parameters = sum(config.parameters for config in (written.card.network, *written.card.others))
    needed = 2 * header.body + WEIGHT * parameters
    if needed > (free := free_memory()):
        problem = f"takes {needed / 1e9:.1f} GB of memory to read, and {free / 1e9:.1f} GB are free"
        raise OutOfMemory(problem, "close other programs, or use a smaller model", where=path)
    return written.card, written.checksum


def _read_weights(content: bytes, path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a file, as the network holds them. Raises ContractileError for numbers that no network has."""
    try:
        tensors = deserialize(content)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ContractileError(f"cannot be read as safetensors ({error})", CURE, where=path) from error
    weights = {name: _as_held(tensor) for name, tensor in tensors}
    for name, values in weights.items():
        if not np.isfinite(values).all():
            raise ContractileError(f"is damaged: tensor {name} holds NaN or infinite numbers", AGAIN, where=path)
        if name.endswith("running_var") and bool((values < 0).any()):
            raise ContractileError(f"is damaged: tensor {name} holds negative numbers", AGAIN, where=path)
    return weights


def _as_held(tensor: Any) -> NDArray[Any]:
    """A tensor of a file as float32, or a counter as int64. NumPy has no bfloat16: it is the upper half of float32."""
    numbers: NDArray[Any] = np.frombuffer(tensor["data"], NUMBERS[tensor["dtype"]]).reshape(tensor["shape"])
    if tensor["dtype"] == "BF16":
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    if tensor["dtype"] == "I64":
        return numbers
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused
        return numbers.astype(np.float32)


def _find(path: Path) -> Path:
    """The path itself where there is a model, else the path of the pretrained model of this name."""
    there = os.path.isfile(path) or os.path.isfile(path / "model.safetensors")  # never raises, unlike those of Path
    return path if there else PRETRAINED.get(str(path), path)


def _locate(path: Path) -> Path:
    """The model file that a path or a name means. Raises NotFound, and ContractileError for what is no regular file."""
    path = _find(path)
    if os.path.isdir(path):
        path = path / "model.safetensors"
    others = "".join(f", or {name} (pretrained)" for name in PRETRAINED)
    cure = f"give RUN/model.safetensors of a finished training{others}"
    if os.path.exists(path) and not os.path.isfile(path):
        raise ContractileError("is no regular file", cure, where=path)
    if not os.path.isfile(path):
        raise NotFound("does not exist", cure, where=path)
    return path

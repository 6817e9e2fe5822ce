"""Whether the tensors of a file are those of the network on its card, from names and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TypeVar

from contractile.errors import ContractileError
from contractile.model.card import ModelCard
from contractile.model.header import COUNTER, Tensor, shown
from contractile.unet import UNetConfig

FIRST, HEAD, NORM = "contract.0.0.weight", "head.weight", "contract.0.1.running_mean"
UP = re.compile(r"up\.\d+\.0\.weight")
NAMED = 3  # tensors in an error

Shape = tuple[int, ...]
One = TypeVar("One")


def check_fit(config: UNetConfig, tensors: Mapping[str, Tensor]) -> None:
    """Raise ContractileError where the tensors of a file are not those of the network on its card."""
    if config.symmetry != "none":
        raise _misfit(f"network.symmetry must be none, since kernels are written out, got {config.symmetry}")
    for field, seen in _look(tensors).items():
        if (told := getattr(config, field)) != seen:
            raise _misfit(f"network.{field} must be that of its tensors, {seen}, got {shown(told)}")
    expected = dict(list_shapes(config))
    if names := sorted(expected.keys() - tensors.keys()):
        raise _misfit(f"tensors are missing: {_name(names)}")
    if names := sorted(tensors.keys() - expected.keys()):
        raise _misfit(f"tensors that it does not have: {_name(names)}")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise _misfit(f"tensor {name} must have shape {shown(shape)}, got {shown(tensors[name].shape)}")


def divide(card: ModelCard, tensors: Mapping[str, One]) -> Iterator[tuple[str, UNetConfig, dict[str, One]]]:
    """The networks of a model: how the names of their tensors begin, the configuration, and the tensors by name.

    Tensors that belong to none of them count as those of the first.
    """
    rest = dict(tensors)
    parts: list[tuple[str, UNetConfig, dict[str, One]]] = []
    for number, config in enumerate(card.others, start=1):
        start = f"{number}/"
        own = {name.removeprefix(start): rest.pop(name) for name in list(rest) if name.startswith(start)}
        parts.append((start, config, own))
    yield "", card.network, rest
    yield from parts


def list_shapes(config: UNetConfig) -> Iterator[tuple[str, Shape]]:
    """Name and shape of each tensor of a network without tied kernels, by arithmetic alone."""
    for level, (ins, outs) in enumerate(pairwise((config.channels, *config.widths))):
        yield from _list_block(config, f"contract.{level}", level, ins, outs)
    for place, level in enumerate(reversed(range(config.depth))):
        narrow, wide = config.widths[level], config.widths[level + 1]
        yield f"up.{place}.0.weight", (wide, narrow, *config.poolings[level])
        yield f"up.{place}.0.bias", (narrow,)
        if config.activate_up:
            yield from _list_norm(config, f"up.{place}.1", narrow)
        yield from _list_block(config, f"expand.{place}", level, wide, narrow)
    yield HEAD, (config.classes, config.width, *config.head)
    yield "head.bias", (config.classes,)


def _list_block(config: UNetConfig, name: str, level: int, ins: int, outs: int) -> Iterator[tuple[str, Shape]]:
    """The two convolutions of a level and their norms."""
    place = 0
    for channels in (ins, outs):
        yield f"{name}.{place}.weight", (outs, channels, *config.kernels[level])
        yield f"{name}.{place}.bias", (outs,)
        yield from _list_norm(config, f"{name}.{place + 1}", outs)
        place += 3 if config.norm == "batch" else 2  # convolution, (norm,) ReLU


def _list_norm(config: UNetConfig, name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    if config.norm == "batch":
        yield from ((f"{name}.{part}", (channels,)) for part in ("weight", "bias", "running_mean", "running_var"))
        yield f"{name}.{COUNTER}", ()


def _look(tensors: Mapping[str, Tensor]) -> dict[str, int | str]:
    """What the tensors tell of the configuration of their network; nothing where there is no first or last one."""
    first, head = (tensors[name].shape if name in tensors else () for name in (FIRST, HEAD))
    if len(first) not in (4, 5) or len(head) != len(first):
        return {}
    return {
        "dims": len(first) - 2,
        "width": first[0],
        "channels": first[1],
        "classes": head[0],
        "depth": sum(UP.fullmatch(name) is not None for name in tensors),
        "norm": "batch" if NORM in tensors else "none",
    }


def _name(names: list[str]) -> str:
    return ", ".join(map(shown, names[:NAMED])) + (", ..." if len(names) > NAMED else "")


def _misfit(reason: str) -> ContractileError:
    return ContractileError(f"does not hold the network on its card ({reason})", "copy it again, or train it again")

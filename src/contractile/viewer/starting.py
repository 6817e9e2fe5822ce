"""Which models a session can show, and which of them it can learn on from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from contractile.errors import ContractileError
from contractile.model import ModelCard, read_card
from contractile.targets import TargetConfig

CURE = "choose another model, or leave it out: a network is then learned from nothing"


def check_model(path: Path, task: str, values: Sequence[int], channels: int, *, learns: bool) -> None:
    """Raise ContractileError for a model that cannot be shown or, where it `learns`, cannot be learned on from.

    `values` are those of the classes of the session, `channels` is the number that its images have.
    """
    why = (why_not_learned if learns else why_not_shown)(read_card(path), task, values, channels)
    if why is not None:
        raise ContractileError(f"the model does not fit this session: {why}", CURE, where=path)


def why_not_shown(card: ModelCard, task: str, values: Sequence[int], channels: int | None = None) -> str | None:
    """Why a session cannot show what a model says, in words; None where it can. `channels` None: as the model wants."""
    network = card.network
    if network.dims != 2:
        return "it is made for volumes, and a session shows planes"
    if card.task != task:
        return f"it finds {card.task}, and the session is about {task}"
    if task == "classes" and tuple(card.class_values) != tuple(values):
        own, others = (", ".join(map(str, found)) for found in (card.class_values, values))
        return f"its classes have the values {own}, those of the session {others}"
    if channels not in (None, network.channels):
        return f"it takes images of {network.channels} channel(s), and these have {channels}"
    return None


def why_not_learned(card: ModelCard, task: str, values: Sequence[int], channels: int) -> str | None:
    """Why a session cannot learn on from a model, in words; None where it can."""
    why = why_not_shown(card, task, values, channels)
    wanted = TargetConfig(separation="contact").n_classes  # outside, core, contact
    if why is None and task == "objects" and card.network.classes != wanted:
        return f"it tells objects apart by {card.network.classes} maps, and a session learns {wanted}"
    return why

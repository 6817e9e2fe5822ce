"""The loss that training minimises: weighted cross entropy and soft Dice, with ignored pixels.

Shapes: scores (B, K, *S) before any soft-max, classes (B, *S) int64 with -1 for ignored pixels (not annotated),
weight (B, *S). An ignored pixel changes neither the value nor the gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from contractile.errors import ContractileError, WrongType, in_one_line

IGNORE = -1


@in_one_line
class LossConfig(BaseModel):
    """Factors of the two terms. At least one is positive; the paper uses cross entropy alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cross_entropy: float = Field(default=1.0, ge=0, le=1e6, description="factor of the cross entropy")
    dice: float = Field(default=0.0, ge=0, le=1e6, description="factor of the Dice loss")

    @model_validator(mode="after")
    def _some_term_counts(self) -> LossConfig:
        if self.cross_entropy == 0 and self.dice == 0:
            raise ContractileError(
                "cross_entropy and dice must not both be 0, got 0 and 0",
                "use cross_entropy = 1 for the loss of the paper",
            )
        return self


def combined(scores: Tensor, classes: Tensor, *, weight: Tensor | None, config: LossConfig) -> Tensor:
    """The sum of both terms, each times its factor in `config`: (B, K, *S), (B, *S), (B, *S) -> scalar."""
    total = scores.new_zeros(())
    if config.cross_entropy > 0:
        total = total + config.cross_entropy * cross_entropy(scores, classes, weight=weight)
    if config.dice > 0:
        total = total + config.dice * dice_loss(scores, classes)
    return total


def cross_entropy(scores: Tensor, classes: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Mean over labelled pixels of -w log softmax(scores)[class]: (B, K, *S), (B, *S), (B, *S) -> scalar >= 0.

    Equation 1 of Ronneberger, Fischer, Brox 2015 (doi:10.1007/978-3-319-24574-4_28) with the minus sign that is missing
    there. The sum is divided by the number of labelled pixels, as in Caffe, and not by the sum of the weights: larger
    weights give a larger loss. 0 where no pixel is labelled.
    """
    _check_shapes(scores, classes, weight)
    scores = _at_least_single(scores)
    loss = F.cross_entropy(scores, classes, ignore_index=IGNORE, reduction="none")  # (B, K, *S) -> (B, *S)
    if weight is not None:
        loss = loss * weight
    return loss.sum() / (classes != IGNORE).sum().clamp(min=1)


def dice_loss(scores: Tensor, classes: Tensor) -> Tensor:
    """1 - mean over classes of 2 sum(p g) / (sum(p) + sum(g)): (B, K, *S), (B, *S) -> scalar in [0, 1].

    p is the soft-max of the scores, and g is 1 on the pixels of the class; sums are over the labelled pixels of the
    whole batch. A class without labelled pixels in the batch is left out of the mean; the loss is 0 where no pixel is
    labelled. Soft Dice of Milletari, Navab, Ahmadi 2016 (doi:10.1109/3DV.2016.79), without their squares.
    """
    _check_shapes(scores, classes, None)
    p = torch.softmax(_at_least_single(scores), dim=1).movedim(1, 0).flatten(1)  # (B, K, *S) -> (K, N)
    every_class = torch.arange(len(p), device=p.device)[:, None]
    g = (classes.flatten() == every_class).to(p.dtype)  # (K, N), 0 in every class where ignored
    labelled = (classes.flatten() != IGNORE).to(p.dtype)  # (N,)
    size = g.sum(dim=1)  # (K,) pixels of each class
    dice = 2 * (p * g).sum(dim=1) / ((p * labelled).sum(dim=1) + size).clamp(min=1e-12)
    present = (size > 0).to(p.dtype)
    return ((1 - dice) * present).sum() / present.sum().clamp(min=1)


def _at_least_single(scores: Tensor) -> Tensor:
    """Scores as float32 or float64: bfloat16 and float16 have too few digits for sums over many pixels."""
    return scores if scores.dtype == torch.float64 else scores.float()


def _check_shapes(scores: Tensor, classes: Tensor, weight: Tensor | None) -> None:
    if scores.ndim < 3 or scores.shape[1] < 2:
        raise ContractileError(
            f"scores must be (B, K, *S) with at least 2 classes on axis 1, got {tuple(scores.shape)}",
            "give the network one output per class",
        )
    if classes.shape != (scores.shape[0], *scores.shape[2:]):
        raise ContractileError(
            f"classes must be (B, *S) = {(scores.shape[0], *scores.shape[2:])} like scores, got {tuple(classes.shape)}",
            "crop them to the output of the network",
        )
    if classes.dtype != torch.int64:
        raise WrongType(f"classes must be int64, got {classes.dtype}", "convert with .long()")
    if weight is not None and weight.shape != classes.shape:
        raise ContractileError(
            f"weight must have the shape of classes {tuple(classes.shape)}, got {tuple(weight.shape)}",
            "crop both in the same way",
        )

"""Class map and weight of every pixel, from the labels of one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy import ndimage

from contractile.errors import ContractileError, in_one_line
from contractile.labels import as_int32, check_labels, connected, renumber
from contractile.spacing import check_spacing, in_finest
from contractile.targets.separation import find_cores, separate, separation_weight

IGNORE = -1
ClassValue = Annotated[int, Field(ge=0, le=2**31 - 1)]  # labels are read as int32; negative is "not annotated"
BETWEEN = {"gap": 0, "contact": 2, "none": 1}  # class of the pixels that keep touching objects apart


@in_one_line
class TargetConfig(BaseModel):
    """What the network is asked to learn, and how much each pixel counts.

    With separation `contact`, the class between touching objects is decoded as part of the objects.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["classes", "objects"] = Field(
        default="objects",
        description="`objects`: touching things have different numbers; `classes`: every pixel has a class",
    )
    class_values: tuple[ClassValue, ...] = Field(
        default=(), description="for `classes`: the numbers in the label files, in the order of the classes"
    )
    w0: float = Field(
        default=10.0,
        ge=0,
        le=1e6,
        description="weight of the pixels between two near objects (equation 2 of the paper); 0 switches it off",
    )
    sigma: float = Field(
        default=5.0, gt=0, le=1e4, description="how far this weight reaches, in pixels (equation 2 of the paper)"
    )
    balance: bool = Field(default=True, description="give every class the same total weight")
    separation: Literal["gap", "contact", "none"] = Field(
        default="gap",
        description="how touching objects are kept apart: `gap`, background between them, as in the paper; "
        "`contact`, a third class there; `none`",
    )
    ignore_label: int | None = Field(
        default=None,
        ge=-(2**31),
        le=2**31 - 1,
        examples=[255],
        description='a number in the label files that means "not annotated", as all negative numbers do',
    )
    known_around: float | None = Field(
        default=None,
        ge=0,
        le=1e6,
        examples=[30],
        description="for labels that show only some of the objects: background farther than this many pixels "
        "from every object counts as not annotated",
    )
    spacing: tuple[float, ...] = Field(
        default=(), description="relative size of a pixel along each axis, such as `[5, 1, 1]`; empty: isotropic"
    )

    @model_validator(mode="after")
    def _values_fit_task(self) -> TargetConfig:
        values = self.class_values
        if self.task == "classes" and (len(values) < 2 or len(set(values)) < len(values)):
            raise ContractileError(
                f"class_values must name at least two different label values for task 'classes', got {values}",
                "list the numbers of the label files in class order, e.g. (0, 255)",
            )
        if self.task == "objects" and values:
            raise ContractileError(
                f"class_values must be empty for task 'objects', got {values}", "drop it or use task 'classes'"
            )
        check_spacing(self.spacing)
        if self.known_around is not None and self.task == "classes":
            raise ContractileError(
                f"known_around must be left out for task 'classes', got {self.known_around}",
                "mark what is not annotated by a negative number or by ignore_label",
            )
        if self.ignore_label is not None and self.ignore_label in values:
            raise ContractileError(
                f"ignore_label must not be one of class_values {values}, got {self.ignore_label}", "drop one of them"
            )
        return self

    @property
    def n_classes(self) -> int:
        """Number of channels of the network: for objects 2 (outside, inside) or 3 (outside, core, contact)."""
        return len(self.class_values) or (3 if self.separation == "contact" else 2)


@dataclass(frozen=True)
class Target:
    """`classes` (*S) int16 with -1 where ignored; `weight` (*S) float32, 0 where ignored.

    For objects, class 0 is outside and 1 inside; with separation `contact`, 1 is a core and 2 the rest of the inside.
    """

    classes: NDArray[np.int16]
    weight: NDArray[np.float32]


def make_target(labels: NDArray[Any], config: TargetConfig, *, class_weights: Sequence[float] | None = None) -> Target:
    """Class map and weight map `w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2))` of one labelled image.

    (*S) -> (*S) twice. Equation 2 of Ronneberger, Fischer, Brox 2015, doi:10.1007/978-3-319-24574-4_28, with
    the second term on background pixels only, as in Falk et al. 2019, doi:10.1038/s41592-018-0261-2. With
    separation `contact` the objects in this term are their cores, and the pixels between cores are background, too.
    Objects of a two-class `classes` map are the connected parts (4 neighbours, in 3-D 6) of class 1; with more
    classes the second term is left out.

    `class_weights` (K,) replaces w_c of this image, for instance by that of the whole dataset.
    Raises WrongType for labels that are not integers, ContractileError for a wrong number of axes or a value
    that is not among `class_values`.
    """
    check_labels(labels)
    ignored = unannotated(labels, config)
    if config.task == "objects":
        objects = _as_int32(np.where(ignored, 0, labels))
        classes = (objects > 0).astype(np.int16)
        if config.separation != "none":
            objects = separate(objects) if config.separation == "gap" else find_cores(objects, unknown=ignored)
        classes[(classes == 1) & (objects == 0)] = BETWEEN[config.separation]
    else:
        classes = _class_indices(labels, ignored, values=config.class_values)
        white = (classes == 1) & ~ignored
        objects = connected(white) if config.n_classes == 2 else np.zeros(labels.shape, np.int32)
    classes[ignored] = IGNORE

    w_c = np.ones(config.n_classes, np.float32)
    if class_weights is not None:
        w_c = _check_class_weights(class_weights, n=config.n_classes)
    elif config.balance:
        w_c = class_balance(classes, config.n_classes)
    weight = np.append(w_c, np.float32(0))[classes]  # class -1 finds the 0 at the end
    if config.w0 > 0:
        spacing = in_finest(config.spacing, labels.ndim)
        separation = separation_weight(objects, w0=config.w0, sigma=config.sigma, spacing=spacing)
        weight += np.where(ignored, np.float32(0), separation)
    return Target(classes, weight)


def _as_int32(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Labels (*S) of objects as int32; objects whose numbers need more bits are renumbered."""
    fits = np.can_cast(labels.dtype, np.int32) or labels.max(initial=0) <= np.iinfo(np.int32).max
    return labels.astype(np.int32) if fits else renumber(labels)


def unannotated(labels: NDArray[Any], config: TargetConfig) -> NDArray[np.bool_]:
    """Pixels (*S) that are not annotated: negative, `ignore_label`, or background far from objects (`known_around`)."""
    ignored: NDArray[np.bool_] = labels < 0
    if config.ignore_label is not None:
        ignored = ignored | (labels == config.ignore_label)
    if config.known_around is not None:
        drawn = (labels > 0) & ~ignored
        if not drawn.any():
            return np.ones(labels.shape, bool)
        distance = ndimage.distance_transform_edt(~drawn, sampling=in_finest(config.spacing, labels.ndim) or None)
        ignored = ignored | (distance > config.known_around)
    return ignored


def known_labels(labels: NDArray[Any], config: TargetConfig) -> NDArray[np.int32]:
    """The same labels (*S), with -1 in all pixels that are not annotated."""
    return np.where(unannotated(labels, config), np.int32(-1), as_int32(labels))


def class_balance(classes: NDArray[Any] | Sequence[NDArray[Any]], n: int) -> NDArray[np.float32]:
    """Weights (n,) that give each of `n` classes in one class map, or in a list of them, the same total weight.

    w_k = N / (P N_k), with N annotated pixels, N_k of them in class k, and P classes that occur; the mean weight of an
    annotated pixel is 1. A class that does not occur has weight 1. Negative classes are not counted.
    """
    maps = [classes] if isinstance(classes, np.ndarray) else classes
    counts = np.zeros(n, np.int64)
    for each in maps:
        counts += np.bincount(each[each >= 0].ravel(), minlength=n)
    present = counts > 0
    weights = np.ones(n, np.float64)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights.astype(np.float32)


def _class_indices(labels: NDArray[Any], ignored: NDArray[np.bool_], *, values: tuple[int, ...]) -> NDArray[np.int16]:
    """Index of each label in `values`; that of an ignored pixel is arbitrary, and the caller replaces it."""
    order = np.argsort(values)
    place = np.searchsorted(np.asarray(values)[order], labels).clip(max=len(values) - 1)
    classes: NDArray[np.int16] = order[place].astype(np.int16)
    unknown = (np.asarray(values)[classes] != labels) & ~ignored
    if unknown.any():
        found = np.unique(labels[unknown])[:5].tolist()
        raise ContractileError(
            f"labels must hold only the class_values {values} or negative numbers, got also {found}",
            "add them to class_values, or set ignore_label",
        )
    return classes


def _check_class_weights(class_weights: Sequence[float], *, n: int) -> NDArray[np.float32]:
    weights = np.asarray(class_weights, np.float32)
    if weights.shape != (n,) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise ContractileError(
            f"class_weights must hold {n} finite numbers >= 0, one per class, got {tuple(class_weights)}",
            "see class_balance",
        )
    return weights

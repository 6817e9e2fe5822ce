"""What may be given in place of a file: an array, or what holds numbers as an array does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from contractile.errors import ContractileError, WrongType, shown


def as_array(value: Any, name: str = "image", cure: str = "give pixels (C, Y, X), or (Y, X) of one channel") -> Any:
    """The same values in something with shape, dtype and slices; what has them already stays as it is.

    Raises WrongType, naming the argument, for paths and whatever else is no array, and ContractileError for an array of
    which some pixels are masked.
    """
    if isinstance(value, str | bytes | os.PathLike):
        problem = f"{name} must be an array, got the path {os.fsdecode(value)}"
        raise WrongType(problem, "read it first: contractile.read(path)")
    if isinstance(value, np.ma.MaskedArray):
        masked = int(np.count_nonzero(np.ma.getmaskarray(value)))
        if masked:
            problem = f"{name} must have a value in every pixel, got a masked array without {masked} of them"
            raise ContractileError(problem, "fill them, e.g. with filled(0)")
        return value.data
    if isinstance(value, np.matrix):
        return np.asarray(value)
    if hasattr(value, "detach"):
        return _from_tensor(value, name)
    if all(hasattr(value, one) for one in ("__getitem__", "shape", "dtype")) and not hasattr(value, "tocsr"):
        return value  # unlike a sparse matrix, which cannot be sliced as an array
    if isinstance(value, Sequence) or hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        try:
            return np.asarray(value)
        except (ValueError, TypeError, OverflowError):
            problem = f"{name} must be an array, got a {type(value).__name__} that NumPy cannot take as one"
            raise WrongType(problem, "give rows of the same length, of numbers") from None
    raise WrongType(f"{name} must be an array, got {shown(value)}", cure)


def _from_tensor(tensor: Any, name: str) -> np.ndarray[Any, Any]:
    """The values of a PyTorch tensor."""
    try:
        plain = tensor.detach().cpu().resolve_conj().resolve_neg()
        return np.asarray(plain.float() if str(plain.dtype) == "torch.bfloat16" else plain)
    except (RuntimeError, TypeError):  # sparse, quantized, without values
        problem = f"{name} must be a tensor that NumPy can take, got one of {tensor.layout} and {tensor.dtype}"
        raise WrongType(problem, "convert it, e.g. with to_dense() or dequantize()") from None

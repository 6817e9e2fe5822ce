"""What the server answers: JSON, raw numbers, and one line where something is wrong."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from contractile.errors import AlreadyThere, ContractileError, InUse, NotFound, OutOfMemory

logger = logging.getLogger(__name__)

STATUS: tuple[tuple[type[ContractileError], int], ...] = (
    (NotFound, 404),
    (InUse, 409),
    (AlreadyThere, 409),
    (OutOfMemory, 503),
)
FAULT = "this is a fault in contractile, please report it with the lines in the terminal"


def json_bytes(fields: object) -> bytes:
    """JSON of plain values, and of NumPy's; what is no number (NaN, infinity) becomes null."""
    return json.dumps(_plain(fields), allow_nan=False, separators=(",", ":")).encode()


def answer(fields: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json_bytes(fields), status, media_type="application/json")


def refusal(problem: str, status: int) -> Response:
    """An answer to what cannot be done: one clear line."""
    return answer({"error": problem}, status)


def refuse(error: Exception) -> Response:
    """The answer to a request that raised this error; a fault of ours is logged."""
    if isinstance(error, ContractileError):
        return refusal(str(error), next((code for kind, code in STATUS if isinstance(error, kind)), 400))
    logger.error(FAULT, exc_info=error)
    return refusal(f"{FAULT} ({type(error).__name__})", 500)


def numbers(values: NDArray[Any] | None) -> Response:
    """An array as its bytes, little-endian, with its shape and type in headers; 204 where there is nothing."""
    if values is None:
        return Response(status_code=204)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if values.dtype.byteorder == ">" or (values.dtype.byteorder == "=" and sys.byteorder == "big"):
        values = values.astype(values.dtype.newbyteorder("<"))
    headers = {"X-Shape": ",".join(map(str, values.shape)), "X-Type": values.dtype.name}
    body = np.ascontiguousarray(values).tobytes()
    return Response(body, headers=headers, media_type="application/octet-stream")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | frozenset | set):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

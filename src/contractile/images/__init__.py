"""Files <-> images: the only room that knows file formats and the letters of axes.

find -> Source -> read, open_image, read_labels, read_probabilities -> arrays -> write_labels, ZarrSink ... -> files.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from contractile.images.channels import grey_of as grey_of
from contractile.images.folders import list_image_files as list_image_files
from contractile.images.folders import named_files as named_files
from contractile.images.gate import limited as limited
from contractile.images.image import Channel as Channel
from contractile.images.image import Image as Image
from contractile.images.image import Stack as Stack
from contractile.images.joined import find_joined as find_joined
from contractile.images.joined import list_joined as list_joined
from contractile.images.joined import say_channels as say_channels
from contractile.images.notes import say_rest as say_rest
from contractile.images.overlay import overlay as overlay
from contractile.images.reading import as_probabilities as as_probabilities
from contractile.images.reading import describe as describe
from contractile.images.reading import open_image as open_image
from contractile.images.reading import read as read
from contractile.images.reading import read_labels as read_labels
from contractile.images.reading import read_probabilities as read_probabilities
from contractile.images.sides import leave_out_labels as leave_out_labels
from contractile.images.sources import Source as Source
from contractile.images.sources import find as find
from contractile.images.sources import list_files as list_files
from contractile.images.sources import say_guesses as say_guesses
from contractile.images.sources import settle_axes as settle_axes
from contractile.images.sources import settle_shapes as settle_shapes
from contractile.images.sources import stem as stem
from contractile.images.streaming import smallest_type as smallest_type
from contractile.images.writing import encode_picture as encode_picture
from contractile.images.writing import is_ours as is_ours
from contractile.images.writing import write_encoded as write_encoded
from contractile.images.writing import write_image as write_image
from contractile.images.writing import write_labels as write_labels
from contractile.images.writing import write_picture as write_picture
from contractile.images.writing import write_probabilities as write_probabilities
from contractile.images.zarr_describing import Facts as Facts
from contractile.images.zarr_place import check_list as check_list
from contractile.images.zarr_place import place_inside as place_inside

if TYPE_CHECKING:
    from contractile.images.zarr_writing import ZarrSink as ZarrSink
    from contractile.images.zarr_writing import pour as pour

_LATER = ("ZarrSink", "pour")  # of `zarr_writing`: Zarr is slow to load


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'contractile.images' has no attribute {name!r}")
    value = getattr(importlib.import_module("contractile.images.zarr_writing"), name)
    globals()[name] = value
    return value

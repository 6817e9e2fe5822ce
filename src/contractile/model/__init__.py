"""The model file: one `.safetensors` with the weights, and in its metadata everything needed to use them.

It can be read without this package. It is not a pickle: reading it runs no code. What a file says about itself is
checked against the limits of this package and against its tensors before anything is built from it.
"""

from __future__ import annotations

from contractile.model.card import ModelCard as ModelCard
from contractile.model.files import PRETRAINED as PRETRAINED
from contractile.model.files import PRETRAINED_FOLDER as PRETRAINED_FOLDER
from contractile.model.files import Model as Model
from contractile.model.files import combine as combine
from contractile.model.files import is_model as is_model
from contractile.model.files import load as load
from contractile.model.files import read_card as read_card
from contractile.model.files import save as save

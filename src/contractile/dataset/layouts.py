"""The layouts are in `contractile.images.layouts`."""

from contractile.images.layouts import Item as Item
from contractile.images.layouts import Place as Place
from contractile.images.layouts import list_items as list_items

"""What a label image is: pieces, numbering, sizes, objects or classes; and labels <-> outlines."""

from __future__ import annotations

from contractile.labels.marks import TOPS as TOPS
from contractile.labels.marks import find_mark as find_mark
from contractile.labels.marks import without_mark as without_mark
from contractile.labels.numbers import FEW as FEW
from contractile.labels.numbers import MOST_CLASSES as MOST_CLASSES
from contractile.labels.numbers import Box as Box
from contractile.labels.numbers import Meaning as Meaning
from contractile.labels.numbers import annotated_planes as annotated_planes
from contractile.labels.numbers import as_int32 as as_int32
from contractile.labels.numbers import boxes as boxes
from contractile.labels.numbers import check_labels as check_labels
from contractile.labels.numbers import connected as connected
from contractile.labels.numbers import diameters as diameters
from contractile.labels.numbers import drop_small as drop_small
from contractile.labels.numbers import find_meaning as find_meaning
from contractile.labels.numbers import object_sizes as object_sizes
from contractile.labels.numbers import renumber as renumber
from contractile.labels.numbers import typical_diameter as typical_diameter
from contractile.labels.outlines import FARTHEST as FARTHEST
from contractile.labels.outlines import Outlines as Outlines
from contractile.labels.outlines import Ring as Ring
from contractile.labels.outlines import draw as draw
from contractile.labels.outlines import outline as outline
from contractile.labels.outlines import polygons as polygons
from contractile.labels.outlines import signed_area as signed_area

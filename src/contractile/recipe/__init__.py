"""Everything that a training run depends on, apart from the data, as one frozen value.

`Recipe.paper()` is the network and the training of 2015. `derive` fits the default recipe to a dataset, a device and a
time budget, and logs what it chose and why.
"""

from __future__ import annotations

from contractile.recipe.changes import check_fields as check_fields
from contractile.recipe.changes import check_same as check_same
from contractile.recipe.changes import make_recipe as make_recipe
from contractile.recipe.changes import merge as merge
from contractile.recipe.changes import read_recipe as read_recipe
from contractile.recipe.derive import derive as derive
from contractile.recipe.recipe import OptimizerConfig as OptimizerConfig
from contractile.recipe.recipe import Recipe as Recipe
from contractile.recipe.survey import Survey as Survey
from contractile.recipe.survey import survey as survey

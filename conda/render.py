"""Read `recipe.yaml` as rattler-build does, and render it; nothing is looked up in a channel, nothing is built.

python conda/render.py        needs `pip install py-rattler-build`
"""

from __future__ import annotations

import sys
from pathlib import Path

from rattler_build import Stage0Recipe

RECIPE = Path(__file__).with_name("recipe.yaml")


def main() -> int:
    rendered = Stage0Recipe.from_file(RECIPE).render()
    for variant in rendered:
        package = variant.recipe.package
        print(f"{RECIPE.name}: {package.name} {package.version}")
    return int(len(rendered) != 1)


if __name__ == "__main__":
    sys.exit(main())

"""The table of objects as a file."""

import numpy as np
import pytest

from contractile.images import Stack
from contractile.prediction.tables import write_objects


@pytest.mark.parametrize(
    ("stack", "columns", "last"),
    [
        (None, ["id"], ["3"]),
        (Stack("Q", (2,)), ["page", "id"], ["1", "3"]),
        (Stack("T", (2,)), ["page", "t", "id"], ["1", "1", "3"]),
        (Stack("ZT", (2, 2)), ["page", "z", "t", "id"], ["3", "1", "1", "3"]),
        (Stack("QPT", (2, 1, 2)), ["page", "p", "t", "id"], ["3", "0", "1", "3"]),
        (Stack("QQ", (1, 2)), ["page", "id"], ["1", "3"]),
    ],
)
def test_where_the_objects_of_a_stack_are(tmp_path, stack, columns, last):
    pages = 1 if stack is None else int(np.prod(stack.lengths))
    write_objects(tmp_path / "a.csv", [{"id": np.array([7, 3]), "area_px": np.array([1, 2])}] * pages, stack=stack)
    head, *rows = (line.split(",") for line in (tmp_path / "a.csv").read_text().splitlines())
    assert head == [*columns, "area_px"]
    assert rows[-1] == [*last, "2"]
    assert len(rows) == 2 * pages

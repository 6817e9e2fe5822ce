"""The table of objects as a file."""

import csv
import sys
from importlib.metadata import version

import numpy as np
import pytest
import tifffile
from test_prediction_kept import pixels, predict

from contractile.errors import ContractileError
from contractile.images import Stack
from contractile.prediction import tables
from contractile.prediction.tables import check_table, write_objects


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


def test_pages_of_which_only_some_have_a_pixel_size(tmp_path):
    bare, sized = {"id": np.array([1]), "area_px": np.array([4])}, {
        "id": np.array([1, 2]), "area_px": np.array([5, 6]), "area_um2": np.array([0.5, 0.6]), "mean": np.array([7, 8])
    }  # fmt: skip
    bare["mean"], parquet = np.array([9]), pytest.importorskip("pyarrow.parquet")
    for pages in ([bare, sized], [sized, bare]):
        write_objects(tmp_path / "a.csv", pages, stack=Stack("Q", (2,)))
        with (tmp_path / "a.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [(row["mean"], row["area_um2"]) for row in sorted(rows, key=lambda row: row["mean"])] == [
            ("7", "0.5"), ("8", "0.6"), ("9", "nan")
        ]  # fmt: skip
        write_objects(tmp_path / "a.parquet", pages, stack=Stack("Q", (2,)))
        assert parquet.read_table(tmp_path / "a.parquet").column_names == ["page", "id", "area_px", "area_um2", "mean"]


def a_table(rows, seed=0):
    """Columns of numbers of all sizes, among them those that are written in a special way."""
    random = np.random.default_rng(seed)
    values = random.normal(size=rows) * 10.0 ** random.integers(-12, 12, rows)
    values[: rows // 3] = random.choice([0.0, -0.0, 1.0, np.nan, np.inf, 999999.5, 1234565.0, 0.1], rows // 3)
    return {
        "id": np.arange(1, rows + 1),
        "area_px": random.integers(0, 2**40, rows),
        "centroid_y_px": values,
        "mean_probability": random.random(rows).astype(np.float32),
        "area_um2": np.round(values),
    }


def plain_csv(path, pages, names=(), places=((),)):
    """The same table, number by number."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, *pages[0]])
        for place, columns in zip(places, pages, strict=True):
            for row in zip(*columns.values(), strict=True):
                numbers = (value if isinstance(value, np.integer) else f"{value:.6g}" for value in row)
                writer.writerow([*place, *numbers])


@pytest.mark.parametrize("rows", [0, 1, 7, 5000])
def test_csv_is_that_of_single_numbers_to_the_byte(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(tables, "ROWS", 7)
    pages = [a_table(rows, 0), a_table(3, 1)]
    write_objects(tmp_path / "a.csv", pages[:1])
    plain_csv(tmp_path / "b.csv", pages[:1])
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    write_objects(tmp_path / "a.csv", pages, stack=Stack("QT", (1, 2)))
    plain_csv(tmp_path / "b.csv", pages, ("page", "t"), ((0, 0), (1, 1)))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(("rows", "groups"), [(0, 1), (4, 1), (40, 4)])
def test_parquet_holds_all_digits_types_and_units(tmp_path, monkeypatch, rows, groups):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tables, "ROWS", 5)
    monkeypatch.setattr(tables, "GROUP", 12)
    columns = a_table(rows)
    write_objects(tmp_path / "a.parquet", [columns])
    found = parquet.read_table(tmp_path / "a.parquet")
    assert found.column_names == list(columns)
    for name, values in columns.items():
        assert found.schema.field(name).type == values.dtype.name.replace("float64", "double").replace("32", "")
        np.testing.assert_array_equal(found[name].to_numpy(), values)
    units = [(found.schema.field(name).metadata or {}).get(b"unit") for name in columns]
    assert units == [None, b"px", b"px", None, b"um2"]
    assert found.schema.metadata[b"contractile"] == version("contractile").encode()
    inside = parquet.ParquetFile(tmp_path / "a.parquet").metadata
    assert inside.num_row_groups == groups
    assert rows == 0 or inside.row_group(0).column(0).compression == "ZSTD"


def test_parquet_of_a_stack_is_one_group_with_places(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pages = [a_table(rows, rows) for rows in (0, 2, 0, 1)]
    write_objects(tmp_path / "a.parquet", pages, stack=Stack("TZ", (2, 2)))
    found = parquet.read_table(tmp_path / "a.parquet").to_pydict()
    assert list(found)[:4] == ["page", "t", "z", "id"]
    assert [found[name] for name in ("page", "t", "z", "id")] == [[1, 1, 3], [0, 0, 1], [1, 1, 1], [1, 2, 1]]
    assert parquet.ParquetFile(tmp_path / "a.parquet").metadata.num_row_groups == 1


def test_tables_that_cannot_be_written(monkeypatch):
    check_table("csv")
    with pytest.raises(ContractileError, match=r"table must be one of csv, parquet, got 'xlsx'; use csv"):
        check_table("xlsx")
    with pytest.raises(ContractileError, match="table parquet is that of objects, but products are labels, overlay;"):
        check_table("parquet", ("labels", "overlay"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        ContractileError, match=r"Parquet cannot be written \(.*\); pip install 'contractile\[parquet\]'"
    ):
        check_table("parquet")


def test_a_prediction_with_a_table_as_parquet(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    tifffile.imwrite(tmp_path / "a.tif", pixels(0))
    (written,) = predict(tmp_path / "a.tif", tmp_path / "out", table="parquet", products=("labels", "objects"))
    assert [file.name for file in written.files] == ["a_labels.tif", "a_objects.parquet"]
    predict(tmp_path / "a.tif", tmp_path / "out", products=("labels", "objects"))
    columns = parquet.read_table(tmp_path / "out" / "a_objects.parquet").to_pydict()
    head, *rows = csv.reader((tmp_path / "out" / "a_objects.csv").read_text().splitlines())
    assert head == list(columns)
    assert rows
    texts = zip(*([f"{value:.6g}" for value in values] for values in columns.values()), strict=True)
    assert rows == [list(row) for row in texts]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ContractileError, match="Parquet cannot be written"):
        predict(tmp_path / "nothing.tif", tmp_path / "out", table="parquet")

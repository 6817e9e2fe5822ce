"""One tree of errors: three fields, one line, and the built-in exceptions that people already catch."""

import ast
import pickle
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import contractile
from contractile.errors import (
    AlreadyThere,
    ContractileError,
    NotFinished,
    NotFound,
    NotWritable,
    NotWritten,
    OutOfMemory,
    WrongType,
    describe_invalid,
    explain_fault,
    in_one_line,
    nearest,
    shown,
)

BUILT_IN = {
    ContractileError: ValueError,
    WrongType: TypeError,
    NotFound: FileNotFoundError,
    AlreadyThere: FileExistsError,
    NotWritable: PermissionError,
    NotFinished: RuntimeError,
    NotWritten: OSError,
    OutOfMemory: MemoryError,
}


@pytest.mark.parametrize("kind", BUILT_IN)
def test_fields_line_and_built_in(kind):
    error = kind("tile must be at least 1 pixel, got 0", "use 512", where="a.tif")
    assert str(error) == "a.tif: tile must be at least 1 pixel, got 0; use 512"
    assert isinstance(error, ContractileError)
    assert isinstance(error, BUILT_IN[kind])
    assert kind.__doc__


def test_an_error_is_one_line_of_bounded_length_whatever_is_in_it():
    error = ContractileError("got 'a\x1b[31m\nb\udcff é'", "use\tc", where="x\r.tif")
    assert str(error) == r"x\r.tif: got 'a\x1b[31m\nb\udcff é'; use\tc"
    error = ContractileError(f"rule, got {'A' * 10**6} here", "cure")
    assert str(error).startswith("rule, got AAA")
    assert str(error).endswith("AAA here; cure")
    assert len(str(error)) < 700


@pytest.mark.parametrize("kind", BUILT_IN)
def test_an_error_can_be_sent_to_another_process(kind):
    error = pickle.loads(pickle.dumps(kind("rule", "cure", where="a.tif")))
    assert (type(error), error.where, error.problem, error.cure) == (kind, "a.tif", "rule", "cure")


def test_an_error_can_be_given_another_place():
    error = NotFound("rule", "cure").at(Path("b.tif"))
    assert isinstance(error, NotFound)
    assert str(error) == "b.tif: rule; cure"


@in_one_line
class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    width: int = Field(default=16, ge=1, le=40_000)
    share: float = Field(default=0.5, ge=0, lt=1)
    part: float = Field(default=0.5, gt=0, lt=1)
    length: float | None = Field(default=None, gt=0, le=5, examples=[0.1])
    least: int | None = Field(default=None, ge=3)
    over: float = Field(default=1.0, gt=0)
    most: int = Field(default=1, le=7)
    below: float = Field(default=1.0, lt=7)
    kind: Literal["sgd", "muon"] = "muon"
    dims: Literal[2, 3] = 2
    tile: tuple[Annotated[int, Field(ge=1, le=9)], ...] = ()
    scale: tuple[float, float] = (1, 2)
    flag: bool = False
    name: str = "x"
    note: str = ""
    parts: list[float] = []
    table: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self):
        if self.width == 13:
            raise ContractileError("width must not be 13, got 13", "use 12")
        return self


@in_one_line
class Outer(BaseModel):
    network: Inner = Inner()
    steps: int


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"width": 0}, "width must be a whole number from 1 to 40,000, got 0; use e.g. 16"),
        ({"share": 1}, "share must be a number from 0 to below 1, got 1; use e.g. 0.5"),
        ({"part": 1}, "part must be a number above 0 and below 1, got 1; use e.g. 0.5"),
        ({"length": "long"}, "length must be a number above 0 and up to 5, got 'long'; use e.g. 0.1"),
        ({"least": 2}, "least must be a whole number of at least 3, got 2; leave it out"),
        ({"over": -1}, "over must be a number above 0, got -1; use e.g. 1.0"),
        ({"most": 8}, "most must be a whole number of at most 7, got 8; use e.g. 1"),
        ({"below": 8}, "below must be a number below 7, got 8; use e.g. 1.0"),
        ({"kind": "mun"}, "kind must be 'sgd' or 'muon', got 'mun'; use 'muon'"),
        ({"dims": "2"}, "dims must be 2 or 3, got '2'; use e.g. 2"),
        ({"tile": 3}, "tile must be a list of whole numbers from 1 to 9, got 3; leave it out"),
        ({"tile": (3, 10)}, "tile must be a list of whole numbers from 1 to 9, got 10; leave it out"),
        ({"scale": (1,)}, "scale must be a list of 2 numbers, got (1,); use e.g. (1, 2)"),
        ({"flag": 7}, "flag must be true or false, got 7; use e.g. False"),
        ({"name": 3}, "name must be a text, got 3; use e.g. 'x'"),
        ({"note": 3}, "note must be a text, got 3; leave it out"),
        ({"parts": 3}, "parts must be a list of numbers, got 3; leave it out"),
        ({"table": 3}, "table must be a table of fields, got 3; leave it out"),
        ({"widht": 3}, "widht does not exist, got 3; write width"),
        ({"width": 13}, "width must not be 13, got 13; use 12"),
        ({"name": 10**5000}, "name must be a text, got a very long int; use e.g. 'x'"),
        ({"kind": "a" * 100}, f"kind must be 'sgd' or 'muon', got '{'a' * 79}...; use e.g. 'muon'"),
    ],
)
def test_a_wrong_field_gets_one_line(fields, line):
    with pytest.raises(ContractileError) as caught:
        Inner(**fields)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"network": {"width": 0}, "steps": 1}, "network.width must be a whole number from 1 to 40,000, got 0; use"),
        ({"network": 3, "steps": 1}, r"network must be a table of fields, got 3; write \[network\] above its fields"),
        ({"network": {"depht": 3}, "steps": 1}, "network.depht does not exist, got 3; the fields are width, share, "),
        ({}, "steps must be a whole number, got nothing; give one"),
    ],
)
def test_fields_of_tables_are_named_with_the_table(fields, line):
    with pytest.raises(ContractileError, match=line):
        Outer(**fields)


def test_fields_have_names():
    with pytest.raises(TypeError, match=r"Inner takes its fields by name, got 8 without one; write Inner\(width=...\)"):
        Inner(8)


def test_without_the_model_the_rule_is_that_of_pydantic():
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"network": {"width": 0, "more": 1}, "steps": 1})
    field, problem = describe_invalid(caught.value)
    assert (field, problem) == ("network.width", "must be greater than or equal to 1, got 0")
    found = explain_fault(caught.value.errors()[1])
    assert str(found.cure) == "leave it out"


def test_words_that_somebody_may_have_meant():
    assert nearest("nuclie", ["membranes", "nuclei"]) == "nuclei"
    assert nearest("NUCLEI", ["nuclei"]) == "nuclei"
    assert nearest("cells", ["nuclei"]) is None


def test_a_value_is_shown_in_a_line_of_bounded_length():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert shown(nested) == "a very long list"
    assert shown("a\nb") == "'a\\nb'"
    assert len(shown(list(range(1000)))) == 83


def test_errors_that_a_user_can_cause_are_of_the_tree():
    """The command line would show `raise ValueError(...)` and the like as a fault of the package, with a traceback."""
    built_in = {kind.__name__ for kind in BUILT_IN.values()} | {"FloatingPointError", "NotADirectoryError"}
    strays = []
    for path in sorted(Path(contractile.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
                strays += [f"{path.name}:{node.lineno}"] if node.exc.func.id in built_in else []
    assert not strays, f"raise a ContractileError instead: {strays}"

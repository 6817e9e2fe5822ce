"""One tree of errors: three fields, one line, and the built-in exceptions that people already catch."""

import ast
import pickle
from pathlib import Path

import pytest
from pydantic import BaseModel, Field, ValidationError

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


@pytest.mark.parametrize("kind", BUILT_IN)
def test_an_error_can_be_sent_to_another_process(kind):
    error = pickle.loads(pickle.dumps(kind("rule", "cure", where="a.tif")))
    assert (type(error), error.where, error.problem, error.cure) == (kind, "a.tif", "rule", "cure")


def test_an_error_can_be_given_another_place():
    error = NotFound("rule", "cure").at(Path("b.tif"))
    assert isinstance(error, NotFound)
    assert str(error) == "b.tif: rule; cure"


def test_field_and_problem_of_an_invalid_configuration():
    class Inner(BaseModel):
        width: int = Field(ge=1)

    class Outer(BaseModel):
        network: Inner

    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"network": {"width": 0}})
    field, problem = describe_invalid(caught.value)
    assert field == "network.width"
    assert problem == "Input should be greater than or equal to 1, got 0"


def test_errors_that_a_user_can_cause_are_of_the_tree():
    """The command line would show `raise ValueError(...)` and the like as a fault of the package, with a traceback."""
    built_in = {kind.__name__ for kind in BUILT_IN.values()} | {"FloatingPointError", "NotADirectoryError"}
    strays = []
    for path in sorted(Path(contractile.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
                strays += [f"{path.name}:{node.lineno}"] if node.exc.func.id in built_in else []
    assert not strays, f"raise a ContractileError instead: {strays}"

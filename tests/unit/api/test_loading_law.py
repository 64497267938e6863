"""No command loads a tenant's thing by an identifier: `Ref` parameters do, through manager.access, or nobody does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager import models
from manager.api import commands
from manager.models import Base, Domain, Nic
from tests.factories.ownership import KNOWN

FOLDER = Path(commands.__file__).parent
OWNED = {m.class_.__name__ for m in Base.registry.mappers if hasattr(m.class_, "account_id")} | {
    model.__name__ for model in (*KNOWN, Nic, Domain)
}
LOADERS = {"get", "get_one"}
ALLOWED = {
    ("project.py", "_swap_owner"): "the id is that of a member who was found by the project at hand",
    ("vm_more.py", "more_columns"): "it is a column of the rows at hand, read with them",
    ("resource_limit.py", "_demand_above"): "the id is that of the holder at hand, or of its domain",
}
"""Functions that may look something up by what a caller says, each with its reason."""


def offences(source: str, file: str) -> Iterator[str]:
    """Where owned models are loaded by a value that is not an attribute of a thing at hand."""
    tree = ast.parse(source)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and (file, function.name) not in ALLOWED:
            for node in ast.walk(function):
                found = _loaded(node) or _compared(node)
                if found is not None:
                    yield f"{file}:{node.lineno} {function.name}: {found} is loaded by {ast.unparse(node)}"


def _loaded(node: ast.AST) -> str | None:
    """The owned model of `session.get(Model, value)`."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOADERS):
        return None
    if len(node.args) < 2 or not isinstance(node.args[0], ast.Name) or node.args[0].id not in OWNED:
        return None
    return None if _is_at_hand(node.args[1]) else node.args[0].id


def _compared(node: ast.AST) -> str | None:
    """The owned model of `Model.id == value` and `filter_by(id=value)`."""
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq):
        for one, other in ((node.left, node.comparators[0]), (node.comparators[0], node.left)):
            model = _model_of_id(one)
            if model is not None and not _is_at_hand(other):
                return model
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "filter_by":
        values = [keyword.value for keyword in node.keywords if keyword.arg == "id"]
        if any(not _is_at_hand(value) for value in values):
            return "something"
    return None


def _model_of_id(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute) and node.attr == "id" and isinstance(node.value, ast.Name):
        return node.value.id if node.value.id in OWNED else None
    return None


def _is_at_hand(node: ast.AST) -> bool:
    """Whether the value is an attribute (`vm.account_id`), which a thing that was loaded has, or such as text."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str":
        return _is_at_hand(node.args[0])
    return isinstance(node, ast.Attribute) and (node.attr == "id" or node.attr.endswith("_id"))


@pytest.mark.parametrize("file", sorted(path.name for path in FOLDER.glob("*.py")))
def test_commands_get_entities_and_load_none(file):
    assert list(offences((FOLDER / file).read_text(), file)) == []


@pytest.mark.parametrize(
    "line",
    [
        "call.session.get(Vm, id)",
        "call.session.get_one(Vm, given.values['id'])",
        "select(Vm).where(Vm.id == vmid)",
        "select(Vm).where(text == Vm.id)",
        "select(Vm).filter_by(id=filters['id'])",
        "call.session.get(Account, names.get('accountid'))",
    ],
)
def test_the_law_notices_a_load_by_an_identifier(line):
    assert len(list(offences(f"def handler(call, id):\n    return {line}\n", "x.py"))) == 1


@pytest.mark.parametrize("line", ["call.session.get(Account, vm.account_id)", "select(Vm).where(Vm.id == id.id)"])
def test_the_law_lets_pass_what_a_thing_at_hand_refers_to(line):
    assert list(offences(f"def handler(call, id):\n    return {line}\n", "x.py")) == []


def test_the_owned_models_are_known():
    assert {"Vm", "Network", "Account", "User", "Nic", "Volume"} <= OWNED <= set(models.__all__)

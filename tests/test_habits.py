"""Every test can fail: none returns early, and none depends on a clock."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

FILES = sorted((ROOT / "tests").rglob("*.py"))
CLOCKS = {"time", "monotonic", "perf_counter", "process_time", "thread_time"}


def functions_named_test(path: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(path.read_text("utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [function for function in functions if function.name.startswith("test_")]


def within(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes inside a node, except those inside functions and classes in it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            yield from within(child)


def of_campaign(test: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator) == "pytest.mark.campaign" for decorator in test.decorator_list)


@pytest.mark.parametrize("path", FILES, ids=[path.relative_to(ROOT).as_posix() for path in FILES])
def test_a_test_does_not_return_early(path: Path) -> None:
    early = [
        f"{test.name}, line {node.lineno}"
        for test in functions_named_test(path)
        for node in within(test)
        if isinstance(node, ast.Return)
    ]
    assert not early, "a test that returns proves nothing in that case: exclude the case"


@pytest.mark.parametrize("path", FILES, ids=[path.relative_to(ROOT).as_posix() for path in FILES])
def test_no_assertion_depends_on_a_clock(path: Path) -> None:
    clocked = [
        f"{test.name}, line {statement.lineno}"
        for test in functions_named_test(path)
        if not of_campaign(test)
        for statement in ast.walk(test)
        if isinstance(statement, ast.Assert)
        and CLOCKS & {node.attr for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
    ]
    assert not clocked, "a loaded machine is slow: count work, see tests/work.py"


@pytest.mark.parametrize("path", FILES, ids=[path.relative_to(ROOT).as_posix() for path in FILES])
def test_a_test_without_the_oracle_is_skipped(path: Path) -> None:
    """The tests also run without PyTorch: one that needs it asks for it before anything imports it."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    calls = (node for node in nodes if isinstance(node, ast.Call))
    asks = min((call.lineno for call in calls if "importorskip('torch" in ast.unparse(call)), default=None)
    imports = [
        node.lineno
        for node in nodes
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "torch" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch")
    ]
    needed = path.name.startswith("test_") and imports
    assert not needed or (asks is not None and asks < min(imports)), "ask for it: `pytest.importorskip`"


def test_no_two_modules_share_a_name() -> None:
    names = Counter(
        path.name for package in ("grammar", "compiler", "runtime", "nablac") for path in (ROOT / package).rglob("*.py")
    )
    assert [name for name, count in names.items() if count > 1 and name != "__init__.py"] == []

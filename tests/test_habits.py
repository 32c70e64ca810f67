"""Every test can fail: none returns early, and none depends on a clock."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.paths import ROOT

FILES = sorted((ROOT / "tests").rglob("*.py"))
CLOCKS = {"time", "monotonic", "perf_counter", "process_time", "thread_time"}


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Every module of the tests by its path: parsing them takes longest."""
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in FILES}


def functions_named_test(tree: ast.Module) -> list[ast.FunctionDef]:
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


def test_no_test_returns_early(trees: dict[str, ast.Module]) -> None:
    early = [
        f"{path}: {test.name}, line {node.lineno}"
        for path, tree in trees.items()
        for test in functions_named_test(tree)
        for node in within(test)
        if isinstance(node, ast.Return)
    ]
    assert not early, "a test that returns proves nothing in that case: exclude the case"


def test_no_assertion_depends_on_a_clock(trees: dict[str, ast.Module]) -> None:
    clocked = [
        f"{path}: {test.name}, line {statement.lineno}"
        for path, tree in trees.items()
        for test in functions_named_test(tree)
        if not of_campaign(test)
        for statement in ast.walk(test)
        if isinstance(statement, ast.Assert)
        and CLOCKS & {node.attr for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
    ]
    assert not clocked, "a loaded machine is slow: count work, see tests/work.py"


def imports_torch_unasked(tree: ast.Module) -> bool:
    """Whether PyTorch is imported before `importorskip` has asked for it."""
    nodes = list(ast.walk(tree))
    imports = [
        node.lineno
        for node in nodes
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "torch" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch")
    ]
    calls = (node for node in nodes if isinstance(node, ast.Call)) if imports else ()
    asks = min((call.lineno for call in calls if "importorskip('torch" in ast.unparse(call)), default=None)
    return bool(imports) and (asks is None or asks >= min(imports))


def test_a_test_without_the_oracle_is_skipped(trees: dict[str, ast.Module]) -> None:
    """The tests also run without PyTorch: one that needs it asks for it before anything imports it."""
    files = {path: tree for path, tree in trees.items() if path.rpartition("/")[2].startswith("test_")}
    assert not [path for path, tree in files.items() if imports_torch_unasked(tree)], "ask for it: importorskip"


def test_no_two_modules_share_a_name() -> None:
    names = Counter(
        path.name for package in ("grammar", "compiler", "runtime", "nablac") for path in (ROOT / package).rglob("*.py")
    )
    assert [name for name, count in names.items() if count > 1 and name != "__init__.py"] == []

"""What holds of the operators as a whole."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from compiler.operators import OPERATORS
from compiler.operators.leaves import Placeholder

pytest.importorskip("torch", reason="the oracle extra is not installed")


def test_every_operator_has_a_case() -> None:
    files = Path(__file__).parent.glob("test_*.py")
    tables = (getattr(import_module(f"{__package__}.{file.stem}"), "CASES", ()) for file in files)
    covered = {case.op.name for table in tables for case in table}
    # What is fed has no kernel, and constants are in the gradient of every case; a
    # scan holds a graph of its own, and is proved in test_random.py and by the recurrent layers of tests/specs.
    computed = {name for name, op in OPERATORS.items() if not issubclass(op, Placeholder)}
    missing = computed - covered - {"constant", "scan"}
    assert not missing


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operator_has_its_page(name: str) -> None:
    operator = OPERATORS[name]
    doc = operator.__dict__.get("__doc__") or ""
    assert doc and not doc.startswith(f"{operator.__name__}("), "its docstring is its page in the reference"


def test_knowing_the_operators_imports_no_numpy() -> None:
    program = "import sys, compiler.operators; print([m for m in ('numpy', 'networkx', 'onnx') if m in sys.modules])"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

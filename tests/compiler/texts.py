"""Texts of the language to graphs, or to what `check` says of them."""

from __future__ import annotations

import pytest

from compiler.elaborate.checking import check
from compiler.elaborate.program import program_of
from compiler.graph import Graph
from compiler.types import DType
from grammar.diagnostics import NablacError
from grammar.source import Source
from tests.models import elaborate

_DECLARED = ("layer ", "cell ", "model ", "fn ", "optimizer ", "const ")


def _whole(text: str) -> str:
    """A model's statements as a whole text; a text that declares something stays as it is."""
    return text if text.lstrip().startswith(_DECLARED) else f"model M {{\n{text}\n}}\n"


def graph(text: str, *, dtype: DType = DType.F32) -> Graph:
    return elaborate(_whole(text), dtype=dtype)


def sound(text: str) -> None:
    """Nothing is wrong with the text."""
    check(program_of(Source("case.model", _whole(text))))


def mistakes(text: str) -> list[str]:
    """What `check` says of a text, code and message."""
    with pytest.raises(NablacError) as caught:
        sound(text)
    return [f"{diagnostic.code} {diagnostic.message}" for diagnostic in caught.value.diagnostics]

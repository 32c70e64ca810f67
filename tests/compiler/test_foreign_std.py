"""A folder `std` of the user's own is none of the library's: what is wrong in it is shown there."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.elaborate.checking import check
from compiler.elaborate.program import load
from grammar.diagnostics import NablacError


def test_a_mistake_in_a_folder_called_std_is_shown_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "std").mkdir()
    (tmp_path / "std" / "mine.model").write_text("layer Mine() {\n input x: [b, 4]\n output x @ zeros([3, 2])\n}\n")
    (tmp_path / "m.model").write_text(
        'from "std/mine.model" import Mine\nmodel M {\n input x: [b, 4]\n output x -> Mine()\n}\n'
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NablacError) as caught:
        check(load("m.model"))
    (found,) = caught.value.diagnostics
    assert found.span is not None
    assert (found.span.source.name, found.span.line) == ("std/mine.model", 3)

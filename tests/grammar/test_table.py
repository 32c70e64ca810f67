"""The cached table of the grammar."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import grammar.table
from grammar.parser import parse
from grammar.source import Source

ROOT = Path(__file__).parents[2]
PROGRAM = (
    "from grammar.parser import parse\nfrom grammar.source import Source\nparse(Source('a.model', 'layer L { }'))\n"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "nablac"


def fresh() -> None:
    grammar.table.table.cache_clear()
    try:
        assert len(parse(Source("a.model", "layer L { }\n")).declarations) == 1
    finally:
        grammar.table.table.cache_clear()


def test_the_table_is_written_once_and_then_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh()
    (written,) = cache.iterdir()
    monkeypatch.setattr(grammar.table, "_write", lambda *_: pytest.fail("written twice"))
    fresh()
    assert [written] == list(cache.iterdir())


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04.", b'{"data": {}, "memo": {}}', b"[" * 100_000])
def test_a_corrupt_cache_is_replaced(cache: Path, content: bytes) -> None:
    fresh()
    (written,) = cache.iterdir()
    assert len(written.read_bytes()) > 1000
    written.write_bytes(content)
    fresh()
    assert len(written.read_bytes()) > 1000  # whole again: the table itself is not the same bytes in every process


def test_a_cache_that_others_could_write_is_not_read(cache: Path) -> None:
    fresh()
    (written,) = cache.iterdir()
    written.write_bytes(b"{}")
    os.chmod(written, 0o666)
    fresh()
    assert written.stat().st_mode & 0o777 == 0o600


def test_a_cache_folder_that_cannot_be_written_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    fresh()


def test_parsing_needs_none_of_the_heavy_libraries(tmp_path: Path) -> None:
    check = PROGRAM + "import sys\nprint(sorted({'numpy', 'networkx', 'onnx', 'rich', 'click'} & set(sys.modules)))\n"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")

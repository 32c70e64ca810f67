"""Files that another program writes to while they are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from grammar.diagnostics import NablacError
from runtime.data import source_files
from runtime.data.csv_file import PLAIN
from runtime.data.source_files import content_of
from runtime.data.table_blocks import table_blocks
from runtime.prediction.findings import Findings

LINES = "".join(f"{row},1\n" for row in range(100_000))


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("7,7\n")


def write_over(path: Path) -> None:
    with path.open("r+") as file:
        file.write("9")
    later = os.stat(path).st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def truncate(path: Path) -> None:
    os.truncate(path, 100_001)  # within a row


def replace(path: Path) -> None:
    path.with_suffix(".new").write_text("a,b\n1,2\n")
    os.replace(path.with_suffix(".new"), path)


def leave(path: Path) -> None:
    """Another program only looks at it."""
    path.read_bytes()


SIZE = len("a,b\n" + LINES)
CHANGES: dict[str, tuple[Callable[[Path], None], str | None]] = {
    "rows are added": (append, f"it had {SIZE:,} bytes and now has {SIZE + 4:,}"),
    "bytes are written over": (write_over, "another program has written to it"),
    "the file is cut": (truncate, f"it had {SIZE:,} bytes and now has 100,001"),
    "a new file takes its place": (replace, None),
    "nothing": (leave, None),
}


def check(path: Path, note: str | None, read: Callable[[], int], expected: int) -> None:
    if note is None:
        assert read() == expected
        return
    with pytest.raises(NablacError) as caught:
        read()
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.place) == ("E821", str(path))
    assert (diagnostic.message, diagnostic.note) == ("the file changed while it was read", note)


@pytest.mark.parametrize("case", CHANGES)
def test_a_table_that_changes_between_two_blocks_is_refused(tmp_path: Path, case: str) -> None:
    change, note = CHANGES[case]
    path = tmp_path / "s.csv"
    path.write_text("a,b\n" + LINES)

    def read() -> int:
        count = 0
        for block in table_blocks(str(path), PLAIN, Findings(), 1000):
            if not count:
                change(path)
            count += len(block.rows.lines)
        return count

    check(path, note, read, 100_000)


@pytest.mark.parametrize("case", CHANGES)
def test_a_file_that_changes_while_it_is_read_at_once_is_refused(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, note = CHANGES[case]
    path = tmp_path / "s.csv"
    path.write_text("a,b\n" + LINES)
    reading = source_files.read_file

    def read_and_change(*arguments: object) -> bytes:
        content = reading(*arguments)  # type: ignore[arg-type]
        change(path)
        return content

    monkeypatch.setattr(source_files, "read_file", read_and_change)
    check(path, note, lambda: len(content_of(path)), SIZE)

"""The journal of a study: what a killed process leaves of a line is cut off, and nothing else ever is."""

from __future__ import annotations

from pathlib import Path

import pytest

from grammar.diagnostics import NablacError

optuna = pytest.importorskip("optuna")

from runtime.search.journal import cut_incomplete_line, open_journal  # noqa: E402


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", b""),
        (b"one\n", b"one\n"),
        (b"one\ntwo", b"one\n"),
        (b"one\ntwo\n", b"one\ntwo\n"),
        (b"half", b""),
        (b"one\n" + b"x" * 200_000, b"one\n"),
        (b"x" * 200_000 + b"\n", b"x" * 200_000 + b"\n"),
        (b"\n\n", b"\n\n"),
        ("é\nü".encode()[:-1], "é\n".encode()),
    ],
)
def test_an_incomplete_line_is_cut_off(tmp_path: Path, content: bytes, kept: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    cut_incomplete_line(path)
    assert path.read_bytes() == kept


def test_a_journal_cut_at_any_byte_is_read_and_written_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    study = optuna.create_study(storage=open_journal(path), study_name="s")
    study.enqueue_trial({"x": 1.0})
    study.tell(study.ask(), 0.5)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for end in range(len(lines[0]), len(whole)):
        path.write_bytes(whole[:end])
        again = optuna.load_study(study_name="s", storage=open_journal(path))
        again.set_user_attr("written", end)
        assert path.read_bytes().startswith(whole[: whole.rfind(b"\n", 0, end) + 1])
        read = optuna.load_study(study_name="s", storage=open_journal(path))
        assert read.user_attrs == {"written": end}
        assert len(read.trials) == len(again.trials) <= 1


@pytest.mark.parametrize("content", [b"a,b\n1,2\n3", b"\x89PNG", b'{"op_cod', b'{"op_code":', b'{"op": 1}', b"\n"])
def test_a_file_of_another_kind_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    beginning_of_one = b'{"op_code":'.startswith(content)
    if beginning_of_one:
        assert open_journal(path).get_all_studies() == []
    else:
        with pytest.raises(NablacError) as caught:
            open_journal(path)
        assert caught.value.diagnostics[0].code == "E871"
    assert path.read_bytes() == content

"""Files are written whole or not at all; what is no file is written to, and never replaced."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import threading
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest

from grammar.diagnostics import NablacError
from runtime.atomic_files import Unwritable, put, scratch, write_bytes
from runtime.outputs import check_output
from runtime.weights import save_weights
from tests.paths import ROOT


def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    named, link = tmp_path / "elsewhere" / "named", tmp_path / "link"
    link.symlink_to(named)
    for content in (b"new", b"and again"):  # a link to nothing, and one to a file
        write_bytes(link, content)
        assert link.is_symlink() and named.read_bytes() == content
    assert os.listdir(named.parent) == ["named"]


def test_a_draft_is_put_where_a_link_leads_and_over_no_text(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("named")
    (tmp_path / "net.model").write_text("model M { }")
    draft = tmp_path / "draft"
    draft.write_bytes(b"new")
    with pytest.raises(NablacError, match="would be lost"):
        put(draft, tmp_path / "net.model")
    put(draft, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "named").read_bytes() == b"new"
    assert not draft.exists()


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("\u5217" * 85)  # of 255 bytes
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == [path.name]


def test_a_pipe_gets_the_bytes(tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write_bytes(pipe, b"through")
    reader.join(10)
    assert found == [b"through"] and stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_device_is_told_by_the_name_that_was_given(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/full")
    with pytest.raises(NablacError, match="link cannot be written: No space left on device"):
        write_bytes(link, bytes(100_000))
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_an_error_about_a_draft_is_one_about_the_file_asked_for(tmp_path: Path) -> None:
    target, full = tmp_path / "made.onnx", OSError(28, "No space left on device")
    with pytest.raises(NablacError) as caught, scratch(target) as folder:
        raise Unwritable(folder / "model.onnx", full) from full
    assert caught.value.diagnostics[0].message == f"{target} cannot be written: No space left on device"
    with pytest.raises(NablacError, match=r"made\.onnx cannot be written"), scratch(target):
        raise full
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_what_the_system_refuses_is_reported_for_the_file(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    for name in ("touch", "mkdir", "unlink"):  # a read-only file system refuses to remove what is not there
        monkeypatch.setattr(Path, name, refuse)
    target = tmp_path / "picture.svg"
    is_full = number in (errno.ENOSPC, errno.EDQUOT)
    hint = "free some space, or name a file on another disk" if is_full else "name another file"
    expected = f"error[E904]: {target} cannot be written: {os.strerror(number)}\n --> {target}\nhelp: {hint}"
    for write in (lambda: write_bytes(target, b"text"), lambda: scratch(target).__enter__()):
        with pytest.raises(Unwritable) as caught:
            write()
        assert str(caught.value) == expected
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_removed_is_reported_for_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    expected = "error[E904]: picture.svg cannot be written: No such file or directory"
    with chdir(folder):
        folder.rmdir()
        for write in (lambda: write_bytes("picture.svg", b"text"), lambda: check_output("picture.svg")):
            with pytest.raises(Unwritable) as caught:
                write()
            assert str(caught.value) == f"{expected}\n --> picture.svg\nhelp: name another file"
        os.chdir(tmp_path)


def test_the_text_of_a_model_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "net.model"
    file.write_text("model M { }")
    (tmp_path / "net.onnx").symlink_to("net.model")
    for name in ("net.model", "net.onnx"):
        with pytest.raises(NablacError) as caught:
            write_bytes(tmp_path / name, b"onnx")
        assert f"{tmp_path / name} is the text of a model, and would be lost" in str(caught.value)
    assert file.read_text() == "model M { }"


def test_what_safetensors_cannot_write_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.numpy

    def full(*_: object) -> None:
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(NablacError) as caught:
        save_weights(tmp_path / "w.safetensors", {"w": np.zeros(3)})
    assert caught.value.diagnostics[0].code == "E904" and "No space left on device" in str(caught.value)
    assert not list(tmp_path.iterdir())


WRITER = """
import os, signal, sys
from pathlib import Path
from runtime.atomic_files import atomic_write, scratch
with atomic_write(sys.argv[1]) as draft, scratch(Path(sys.argv[1])) as folder:
    draft.write_bytes(b"half")
    (folder / "part").write_bytes(b"half")
    print("ready", flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def test_drafts_of_killed_processes_are_removed_by_the_next_that_writes_and_no_others(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"

    def begin(how: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WRITER, str(target), how]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        return process

    begin("killed").wait(10)
    stale = sorted(os.listdir(tmp_path))
    assert len(stale) == 2
    with begin("waits") as process:
        drafts = set(os.listdir(tmp_path))
        assert len(drafts) == 2 and not drafts & set(stale), "those of the killed one are gone"
        others = [
            ".theirs.part",
            min(drafts).replace(str(process.pid), "99999999", 1)[:-30] + ".part",  # not a draft's name
            re.sub(r"\.[0-9a-f]{8}-", ".00000000-", min(stale)),  # of another machine
        ]
        for name in others:
            (tmp_path / name).touch()
        again = re.sub(r"-[0-9a-f]{8}-([0-9a-f]{8}\.part)", r"-00000000-\1", min(drafts))  # of one that had its number
        (tmp_path / again).touch()
        with begin("waits") as second:
            assert set(os.listdir(tmp_path)) > {*drafts, *others} and not (tmp_path / again).exists()
            second.communicate()
        process.communicate()
        assert process.returncode == second.returncode == 0
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "out.csv"])
    assert target.read_bytes() == b"half"

"""Atomic writes of files: the whole content or none of it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.draft_names import draft_name, remove_stale_drafts

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # the disk, or what a user may have of it


class Unwritable(NablacError):
    """A file or folder that cannot be written, with the error of the system."""

    def __init__(self, path: str | Path, reason: Exception) -> None:
        cause = getattr(reason, "strerror", None) or reason
        is_full = getattr(reason, "errno", None) in _FULL
        hint = "free some space, or name a file on another disk" if is_full else "name another file"
        message = f"{path} cannot be written: {cause}"
        super().__init__(Diagnostic(codes.E904, message, place=str(path), hint=hint))
        self.path, self.reason = Path(path), reason


@contextmanager
def atomic_write(path: str | Path, *, replaces_model: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which replaces `path` when the block ends without an error.

    After a crash, or on a full disk, `path` has its old content; drafts of killed processes are removed by the next one
    that writes to the folder. A symbolic link stays, and its target is written.
    A device or a pipe is not replaced: the finished bytes are copied to it. Raises Unwritable where the system refuses,
    and NablacError where the text of a model would be lost, unless it `replaces_model` on purpose.
    """
    with refused_for(path):
        if not replaces_model:
            _check_name(path)
        target, temporary = _target_and_draft(Path(path))
        remove_stale_drafts(temporary.parent)
        try:
            temporary.touch(0o600, exist_ok=False)
            yield temporary
            _deliver(temporary, target)
        finally:
            with suppress(OSError):  # a read-only file system refuses that too
                temporary.unlink(missing_ok=True)


@contextmanager
def refused_for(path: str | Path) -> Iterator[None]:
    """What the system refuses within the block is Unwritable for this path, and not for a draft of it."""
    try:
        yield
    except OSError as error:
        raise Unwritable(path, error) from error


def put(written: Path, path: Path) -> None:
    """Like `atomic_write`, for a file that is already finished and on the same disk."""
    with refused_for(path):
        _check_name(path)
        _deliver(written, _target_and_draft(path)[0])


def _deliver(written: Path, target: Path) -> None:
    if is_stream(target):
        with written.open("rb") as content, target.open("wb") as stream:
            shutil.copyfileobj(content, stream)
    else:
        replace(written, target)


def _check_name(path: str | Path) -> None:
    if "\0" in str(path):
        raise Unwritable(path, ValueError("a null byte is in its name"))
    if os.path.realpath(path).endswith(".model") and os.path.isfile(path):
        message = f"{path} is the text of a model, and would be lost"
        raise NablacError(Diagnostic(codes.E904, message, place=str(path), hint="name another file"))


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `target`, removed when the block ends; Unwritable where it cannot be created.

    It holds a draft of `target`: an error in writing the draft is reported for `target`.
    """
    with refused_for(target):
        _check_name(target)
        _, folder = _target_and_draft(target)
        remove_stale_drafts(folder.parent)
        try:
            folder.mkdir(0o700)
            yield folder
        except Unwritable as error:
            if error.path.is_relative_to(folder):
                raise Unwritable(target, error.reason) from error
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def put_all(drafts: Path, folder: Path) -> None:
    """Move all files of one folder to another, which may be new; Unwritable where the system refuses."""
    with refused_for(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for written in sorted(drafts.iterdir()):
            written.replace(folder / written.name)


def resolve_link(path: Path) -> Path:
    """The target of a symbolic link; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def is_stream(path: Path) -> bool:
    """Whether a path is a device or a pipe."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _target_and_draft(path: Path) -> tuple[Path, Path]:
    """The file to write for a path, and the path of its draft: beside it, or in the system's folder for a stream.

    The draft's name is chosen before the draft is created, so that an interrupt at any moment leaves nothing behind.
    """
    stream = is_stream(path)
    target = path if stream else resolve_link(path)
    folder = Path(tempfile.gettempdir()) if stream else target.parent
    return target, folder / draft_name(target.name)


def replace(written: Path, target: Path) -> None:
    """Replace `target` by a finished file, and wait until the file and its directory entry are on the disk."""
    with written.open("rb+") as file:
        os.fsync(file.fileno())
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    written.chmod(mode)
    written.replace(target)
    if hasattr(os, "O_DIRECTORY"):  # elsewhere a folder cannot be synced
        folder = os.open(target.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        except OSError:  # some file systems refuse; the file itself is safe
            pass
        finally:
            os.close(folder)


def move_folder(draft: Path, target: Path) -> None:
    """Rename a finished folder to `target`, which may be an empty folder."""
    draft.chmod(0o777 & ~_umask())
    if target.is_dir():
        target.rmdir()  # only POSIX renames over an existing folder
    draft.rename(target)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file; Unwritable where that cannot be done."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

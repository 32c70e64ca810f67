"""Writing files whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError


class Unwritable(NablacError):
    """A file or folder that cannot be written: which, and what the system said."""

    def __init__(self, path: str | Path, reason: Exception) -> None:
        said = getattr(reason, "strerror", None) or reason
        message, hint = f"{path} cannot be written: {said}", "name another file"
        super().__init__(Diagnostic(codes.E904, message, place=str(path), hint=hint))
        self.path, self.reason = Path(path), reason


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it replaces `path` when the block ends well.

    After a crash, or on a full disk, `path` holds what it held before. A link stays, and what it names is written;
    a device or a pipe is not replaced, and gets the finished bytes. Unwritable where the system refuses, NablacError
    where the text of a model would be lost.
    """
    _check_name(path)
    target, temporary = _target_and_draft(Path(path))
    try:
        temporary.touch(0o600, exist_ok=False)
        yield temporary
        _deliver(temporary, target)
    except OSError as error:
        raise Unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def put(written: Path, path: Path) -> None:
    """As `written_whole`, of a file that is finished already and lies on the same disk."""
    _check_name(path)
    try:
        _deliver(written, _target_and_draft(path)[0])
    except OSError as error:
        raise Unwritable(path, error) from error


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
    """A folder beside `target`, gone when the block ends; Unwritable where nothing can be written there.

    What is written in it is a draft of `target`, and an error about it is one about `target`.
    """
    _check_name(target)
    _, folder = _target_and_draft(target)
    try:
        folder.mkdir(0o700)
        yield folder
    except Unwritable as error:
        if error.path.is_relative_to(folder):
            raise Unwritable(target, error.reason) from error
        raise
    except OSError as error:
        raise Unwritable(target, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def resolve_link(path: Path) -> Path:
    """The file that is written for a path: what a link names, itself where it is none."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def is_stream(path: Path) -> bool:
    """Whether a path is a device or a pipe."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _target_and_draft(path: Path) -> tuple[Path, Path]:
    """The file that is written for a path, and where its draft goes: beside it, for a stream to the system's folder.

    The draft's name is known before there is anything of that name, so that an interrupt at any moment leaves nothing.
    """
    stream = is_stream(path)
    target = path if stream else resolve_link(path)
    folder = Path(tempfile.gettempdir()) if stream else target.parent
    return target, folder / f".{target.name[:100]}.{secrets.token_hex(8)}.part"


def replace(written: Path, target: Path) -> None:
    """Replace `target` by a finished file, and wait until both the file and its name are on the disk."""
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
    """Give a finished folder its name, which an empty folder may have."""
    draft.chmod(0o777 & ~_umask())
    if target.is_dir():
        target.rmdir()  # elsewhere than on POSIX nothing is renamed over it
    draft.rename(target)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file; Unwritable where that cannot be done."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

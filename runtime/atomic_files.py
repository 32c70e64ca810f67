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

from grammar.diagnostics import Diagnostic, NablacError


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it takes the place of `path` when the block ends well.

    After a crash, or on a full disk, `path` holds what it held before. A link stays, and what it names is written;
    nothing takes the place of a device or a pipe, which get the finished bytes. NablacError where the text of a model
    would be lost.
    """
    _check_name(path)
    target, temporary = _places(Path(path))
    try:
        temporary.touch(0o600, exist_ok=False)
        yield temporary
        _deliver(temporary, target)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def put(written: Path, path: Path) -> None:
    """As `written_whole`, of a file that is finished already and lies on the same disk."""
    _check_name(path)
    try:
        _deliver(written, _places(path)[0])
    except OSError as error:
        raise unwritable(path, error) from error


def _deliver(written: Path, target: Path) -> None:
    if is_stream(target):
        with written.open("rb") as content, target.open("wb") as stream:
            shutil.copyfileobj(content, stream)
    else:
        replace(written, target)


def _check_name(path: str | Path) -> None:
    if "\0" in str(path):
        raise unwritable(path, ValueError("a null byte is in its name"))
    if os.path.realpath(path).endswith(".model") and os.path.exists(path):
        message = f"{path} is the text of a model, and would be lost"
        raise NablacError(Diagnostic("E904", message, place=str(path), hint="name another file"))


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """A folder beside `target`, gone when the block ends; NablacError where nothing can be written there.

    What is written in it is a draft of `target`, and an error about it is one about `target`.
    """
    _check_name(target)
    _, folder = _places(target)
    try:
        folder.mkdir(0o700)
        yield folder
    except NablacError as error:
        if isinstance(error.__cause__, OSError) and str(folder) in (error.diagnostics[0].place or ""):
            raise unwritable(target, error.__cause__) from error
        raise
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def followed(path: Path) -> Path:
    """The file that is written for a path: what a link names, itself where it is none."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def is_stream(path: Path) -> bool:
    """Whether a path is a device or a pipe."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _places(path: Path) -> tuple[Path, Path]:
    """What is written for a path, and where its draft is to be: beside it, or with the system's for a stream.

    The draft's name is known before there is anything of that name, so that an interrupt at any moment leaves nothing.
    """
    stream = is_stream(path)
    target = path if stream else followed(path)
    folder = Path(tempfile.gettempdir()) if stream else target.parent
    return target, folder / f".{target.name[:100]}.{secrets.token_hex(8)}.part"


def replace(written: Path, target: Path) -> None:
    """Put a finished file in its place, and both the file and its name on the disk."""
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


def place_folder(draft: Path, target: Path) -> None:
    """Put a finished folder in its place, which may be an empty one's."""
    draft.chmod(0o777 & ~_umask())
    if target.is_dir():
        target.rmdir()  # elsewhere than on POSIX nothing is renamed over it
    draft.rename(target)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file; NablacError where that cannot be done."""
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def unwritable(path: str | Path, error: Exception) -> NablacError:
    """Why a file cannot be written."""
    reason = getattr(error, "strerror", None) or error
    message, hint = f"{path} cannot be written: {reason}", "name another file"
    return NablacError(Diagnostic("E904", message, place=str(path), hint=hint))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

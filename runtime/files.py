"""Writing files whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grammar.diagnostics import Diagnostic, NablacError


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it takes the place of `path` when the block ends well.

    After a crash, or on a full disk, `path` holds what it held before. A link stays one, and a device or a pipe is
    written to as it is. NablacError where the text of a model would be lost.
    """
    target = Path(os.path.realpath(path))
    if target.suffix == ".model" and target.exists():
        hint = "name another file with `-o`"
        message = f"{path} is the text of a model, and would be lost"
        raise NablacError(Diagnostic("E904", message, place=str(path), hint=hint))
    if target.exists() and not target.is_file() and not target.is_dir():
        with scratch(Path(tempfile.gettempdir()) / target.name) as folder:
            yield folder / "content"
            try:
                target.write_bytes((folder / "content").read_bytes())
            except OSError as error:
                raise unwritable(target, error) from error
        return
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part")
    except (OSError, ValueError) as error:
        raise unwritable(target, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        replace(temporary, target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """A folder beside `target`, gone when the block ends; NablacError where nothing can be written there."""
    try:
        folder = tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part")
    except (OSError, ValueError) as error:
        raise unwritable(target, error) from error
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file; NablacError where that cannot be done."""
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def unwritable(path: Path, error: Exception) -> NablacError:
    """Why a file cannot be written."""
    reason = getattr(error, "strerror", None) or error
    message, hint = f"{path} cannot be written: {reason}", "name another file with `-o`"
    return NablacError(Diagnostic("E904", message, place=str(path), hint=hint))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

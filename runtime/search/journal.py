"""The storage of a study: Optuna's journal, a file to which all processes of the study append lines."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.atomic_files import Unwritable
from runtime.boundary import reason_of, require_regular

_FIRST = b'{"op_code":'  # the start of every line of a journal
_BLOCK = 1 << 16


class JournalLock(JournalFileOpenLock):
    """The operating system's lock on a journal, which is released however its process ends.

    Optuna's own locks are files that a killed process leaves behind. Acquiring this one also cuts off an incomplete
    last line of a killed process: the next line would be appended to it, and the journal be unreadable from there.
    """

    def __init__(self, journal: Path, lock: Path) -> None:
        super().__init__(str(journal))
        self._journal = journal
        self._lock = FileLock(lock, thread_local=False)

    def acquire(self) -> bool:
        """Wait for the lock, and cut off an incomplete last line."""
        self._lock.acquire()
        cut_incomplete_line(self._journal)
        return True

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()


def cut_incomplete_line(path: Path) -> None:
    """Truncate a file after its last line break."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        keep = end
        while keep:
            start = max(0, keep - _BLOCK)
            file.seek(start)
            block = file.read(keep - start)
            newline = block.rfind(b"\n")
            if newline >= 0:
                keep = start + newline + 1
                break
            keep = start
        if keep < end:
            file.truncate(keep)


def locks_of(journal: Path) -> Path:
    """The folder of the locks of a journal and of its workers."""
    return journal.with_name(f"{journal.name}.locks")


def open_journal(path: Path) -> JournalStorage:
    """The storage in a file, which is created if it does not exist; NablacError for a file of another kind."""
    silence_optuna()
    _check_kind(path)
    locks = locks_of(path)
    try:
        locks.mkdir(exist_ok=True)
        backend = JournalFileBackend(str(path), lock_obj=JournalLock(path, locks / "journal"))
    except OSError as error:
        raise Unwritable(path, error) from error
    try:
        return JournalStorage(backend)
    except OSError as error:
        raise Unwritable(path, error) from error
    except Exception as error:  # its lines may be anything: JSON of other programs, of other versions
        raise refusal(path, f"it cannot be read: {reason_of(error)}") from error


def silence_optuna() -> None:
    """Switch off Optuna's own log lines and warnings."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def refusal(storage: Path | str, why: str) -> NablacError:
    """The error for a storage that does not hold the study; `storage` is its name, without a password."""
    hint = "name a new one, or leave `--storage` out"
    message = f"{storage} cannot store this study: {why}"
    return NablacError(Diagnostic(codes.E871, message, place=str(storage), hint=hint))


def _check_kind(path: Path) -> None:
    """NablacError for a file that is not a journal, which must not be truncated."""
    if not path.exists():
        return
    require_regular(path)
    with path.open("rb") as file:
        first = file.read(len(_FIRST))
    if not _FIRST.startswith(first):
        raise refusal(path, "it is not an Optuna journal")

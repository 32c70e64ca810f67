"""The storage of a study: Optuna's journal, a file to which every process that works on the study appends lines."""

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

_FIRST = b'{"op_code":'  # what each line of a journal begins with
_BLOCK = 1 << 16


class JournalLock(JournalFileOpenLock):
    """The system's lock on a journal, which ends with its process, however that ends.

    Optuna's own locks are files that a killed process leaves behind. Whoever takes this one also cuts off what a killed
    process left of its last line: the next line would be appended to it, and the journal be unreadable from there.
    """

    def __init__(self, journal: Path, lock: Path) -> None:
        super().__init__(str(journal))
        self._journal = journal
        self._lock = FileLock(lock, thread_local=False)

    def acquire(self) -> bool:
        """Wait for the lock, and end the journal with a whole line."""
        self._lock.acquire()
        cut_incomplete_line(self._journal)
        return True

    def release(self) -> None:
        """Let the next one write."""
        self._lock.release()


def cut_incomplete_line(path: Path) -> None:
    """Cut off what follows a file's last line break."""
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
    """The folder with the locks of a journal: its own, and one for each worker."""
    return journal.with_name(f"{journal.name}.locks")


def open_journal(path: Path) -> JournalStorage:
    """The storage in a file, which is new where there is none; NablacError for a file of another kind."""
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
    except Exception as error:  # whatever its lines are: JSON of other programs, of other versions
        raise refusal(path, f"it cannot be read: {reason_of(error)}") from error


def silence_optuna() -> None:
    """Optuna's own log lines and warnings are not for the users of nablac."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def refusal(path: Path, why: str) -> NablacError:
    """The error about a storage that is not of the study."""
    hint = "name a new file, or leave `--storage` out"
    return NablacError(Diagnostic(codes.E871, f"{path} cannot store this study: {why}", place=str(path), hint=hint))


def _check_kind(path: Path) -> None:
    """NablacError for a file that is no journal, from which nothing must be cut off."""
    if not path.exists():
        return
    require_regular(path)
    with path.open("rb") as file:
        first = file.read(len(_FIRST))
    if not _FIRST.startswith(first):
        raise refusal(path, "it is not a journal of Optuna's")

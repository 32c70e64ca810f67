"""The storage of a study, a journal or a database, with the locks of its workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.search.journal import locks_of, open_journal
from runtime.search.locks import FileLocks

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from runtime.search.locks import Locks


def is_url(storage: str) -> bool:
    """Whether a storage is named by the URL of a database, and not by the path of a journal."""
    return "://" in storage


def open_storage(address: str) -> tuple[BaseStorage, Locks]:
    """The storage with this name, created if it does not exist, and its locks.

    NablacError if it is of another kind, or does not answer.
    """
    if not is_url(address):
        path = Path(address)
        return open_journal(path), FileLocks(locks_of(path))
    from runtime.search.databases import open_database  # its libraries take half a second

    return open_database(address)


@contextmanager
def storage_errors(address: str) -> Iterator[None]:
    """Errors of a database within the block are raised as NablacError, without its password."""
    if not is_url(address):
        yield
        return
    from runtime.search.databases import database_errors

    with database_errors(address):
        yield


def absolute(storage: str) -> str:
    """The same storage named from any folder; NablacError for a URL that names none."""
    if not is_url(storage):
        return str(Path(storage).resolve())
    from runtime.search.storage_urls import absolute_url

    return absolute_url(storage)


def without_password(storage: str) -> str:
    """The name as it is printed and stored."""
    if not is_url(storage):
        return storage
    from runtime.search import storage_urls

    return storage_urls.without_password(storage)

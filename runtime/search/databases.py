"""Databases that store a study, with the locks of its workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalRedisBackend
from sqlalchemy.exc import SQLAlchemyError

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import reason_of
from runtime.search.database_locks import MysqlLocks, PostgresLocks
from runtime.search.journal import locks_of, refusal, silence_optuna
from runtime.search.locks import FileLocks, Locks, hold_claims
from runtime.search.redis_locks import RedisLocks
from runtime.search.storage_urls import hide_password, parse_url, with_driver, without_password

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_PATIENCE = 10  # seconds that an address has to answer
_OPTUNA = "version_info"  # a table of every database of Optuna's


def open_database(address: str) -> tuple[BaseStorage, Locks]:
    """The storage at a URL, created if it does not exist, and its locks; NablacError as of `open_storage`."""
    silence_optuna()
    url = with_driver(parse_url(address))
    with database_errors(address, ImportError, ValueError, RuntimeError):  # of drivers, and of Optuna's other versions
        match url.get_backend_name():
            case "sqlite":
                return _sqlite(url)
            case "redis" | "rediss":
                return _redis(url)
            case kind:
                return _server(url, kind)


@contextmanager
def database_errors(address: str, *others: type[Exception]) -> Iterator[None]:
    """Errors of a database within the block, and `others`, are raised as NablacError, without its password."""
    try:
        yield
    except _errors(address) + others as error:
        cause: BaseException = error
        if isinstance(error, StorageInternalError) and error.__cause__ is not None:
            cause = error.__cause__
        reason = reason_of(getattr(cause, "orig", None) or cause)
        name = without_password(address)
        message = f"{name} cannot be used: {hide_password(reason, address)}"
        hint = (
            "check that its server runs, its address, user and password; a resumed study needs `--storage URL` "
            "again if that has a password"
        )
        raise NablacError(Diagnostic(codes.E874, message, place="--storage", hint=hint)) from None


def _errors(address: str) -> tuple[type[Exception], ...]:
    """What the libraries of a storage raise."""
    if not address.startswith("redis"):
        return SQLAlchemyError, StorageInternalError
    from redis.exceptions import RedisError

    return (RedisError,)


def _sqlite(url: URL) -> tuple[BaseStorage, Locks]:
    """A database in a file, with locks beside it."""
    path = Path(str(url.database))
    locks = FileLocks(locks_of(path))
    if path.exists():
        _require_optuna(path, url)
    options: dict[str, Any] = {"connect_args": {"timeout": 60}}  # seconds that a writer waits for others
    with hold_claims(locks):
        return RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=options), locks


def _require_optuna(path: Path, url: URL) -> None:
    """NablacError for a file that is not a database of Optuna's, which must not be changed."""
    engine = sqlalchemy.create_engine(url)
    try:
        tables = sqlalchemy.inspect(engine).get_table_names()
    except SQLAlchemyError:
        raise refusal(path, "it is not an SQLite database") from None
    finally:
        engine.dispose()
    if tables and _OPTUNA not in tables:
        raise refusal(path, "it is a database of another program")


def _server(url: URL, kind: str) -> tuple[BaseStorage, Locks]:
    """A database of a server, with locks in it; its tables are created by one process at a time."""
    options = {} if "connect_timeout" in url.query else {"connect_args": {"connect_timeout": _PATIENCE}}
    engine = sqlalchemy.create_engine(url, **options)
    locks = PostgresLocks(engine) if kind == "postgresql" else MysqlLocks(engine)
    with hold_claims(locks):
        storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=dict(options))
    return storage, locks


def _redis(url: URL) -> tuple[BaseStorage, Locks]:
    """A journal in a Redis server, with locks in it."""
    from redis import Redis

    address = url.render_as_string(hide_password=False)
    client = Redis.from_url(address, socket_connect_timeout=_PATIENCE)
    client.ping()
    return JournalStorage(JournalRedisBackend(address, prefix="nablac")), RedisLocks(client)

"""Locks of a study in a database server, which releases those of a process whose connection has ended."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

# What lets a server notice within a minute that a machine has been switched off or lost its network.
_POSTGRESQL = ("SET tcp_keepalives_idle = 30", "SET tcp_keepalives_interval = 10", "SET tcp_keepalives_count = 3")
_MYSQL = ("SET SESSION wait_timeout = 31536000",)  # a worker says nothing while it trains; a year is the most
_LONG = 1_000_000  # seconds that a process waits for its turn


class PostgresLocks:
    """Session-level advisory locks of PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._session = _Session(engine, _POSTGRESQL)

    def acquire(self, name: str, wait: bool = True) -> bool:
        """Acquire the advisory lock of a name."""
        if wait:
            self._session.scalar("SELECT pg_advisory_lock(:key)", key=_number(name))
            return True
        return bool(self._session.scalar("SELECT pg_try_advisory_lock(:key)", key=_number(name)))

    def release(self, name: str, is_last: bool = False) -> None:
        """Release the lock."""
        self._session.scalar("SELECT pg_advisory_unlock(:key)", key=_number(name))


class MysqlLocks:
    """User-level locks of MySQL and MariaDB, whose names are those of the whole server."""

    def __init__(self, engine: Engine) -> None:
        self._session = _Session(engine, _MYSQL)
        self._database = str(engine.url.database)

    def acquire(self, name: str, wait: bool = True) -> bool:
        """Acquire the lock of a name in this database."""
        seconds = _LONG if wait else 0
        return bool(self._session.scalar("SELECT GET_LOCK(:key, :seconds)", key=self._key(name), seconds=seconds))

    def release(self, name: str, is_last: bool = False) -> None:
        """Release the lock."""
        self._session.scalar("SELECT RELEASE_LOCK(:key)", key=self._key(name))

    def _key(self, name: str) -> str:
        return f"nablac {_number(f'{self._database} {name}')}"


class _Session:
    """A connection of its own, which lasts as long as the process: locks are its."""

    def __init__(self, engine: Engine, settings: tuple[str, ...]) -> None:
        self._engine, self._settings = engine, settings
        self._connection: Connection | None = None

    def scalar(self, statement: str, **values: Any) -> Any:
        """The one value that a statement returns."""
        if self._connection is None:
            # Without transactions: an open one would keep the server from cleaning up.
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            for setting in self._settings:
                self._connection.execute(text(setting))
        return self._connection.execute(text(statement), values).scalar()


def _number(name: str) -> int:
    """A 64-bit integer for a name."""
    return int.from_bytes(blake2b(f"nablac {name}".encode(), digest_size=8).digest(), "big", signed=True)

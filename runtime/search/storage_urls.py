"""URLs of the databases that store studies; their passwords are neither printed nor stored."""

from __future__ import annotations

import os
from importlib.util import find_spec

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

_POSTGRESQL = {"psycopg": ("psycopg", "psycopg[binary]"), "psycopg2": ("psycopg2", "psycopg2-binary")}
_MYSQL = {"pymysql": ("pymysql", "PyMySQL"), "mysqldb": ("MySQLdb", "mysqlclient")}
_REDIS = {"": ("redis", "redis")}
_DRIVERS = {  # by kind and name, best first: the module, and what pip installs for it
    "sqlite": {},  # Python has it
    "postgresql": _POSTGRESQL,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "redis": _REDIS,
    "rediss": _REDIS,
}
_FORMS = "sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE, mysql://..., redis://HOST, or a file"


def absolute_url(storage: str) -> str:
    """The URL of the same storage from any folder; NablacError for one that names none."""
    url = parse_url(storage)
    if url.get_backend_name() == "sqlite":
        url = url.set(database=os.path.realpath(str(url.database)))
    return url.render_as_string(hide_password=False)


def without_password(storage: str) -> str:
    """The URL as it is printed and stored."""
    url = make_url(storage)
    bare = URL.create(url.drivername, url.username or None, None, url.host, url.port, url.database, url.query)
    return bare.difference_update_query(_secrets(url)).render_as_string(hide_password=False)


def hide_password(message: str, storage: str) -> str:
    """A driver's message without the password of a storage."""
    url = make_url(storage)
    values = [url.password, *(url.query[name] for name in _secrets(url))]
    for secret in values:
        if secret:
            message = message.replace(str(secret), "***")
    return message


def _secrets(url: URL) -> list[str]:
    """The options of a URL that are passwords."""
    return [name for name in url.query if "pass" in name.lower()]


def parse_url(storage: str) -> URL:
    """The URL of a storage; NablacError for others."""
    try:
        url = make_url(storage)
    except (ArgumentError, ValueError):
        scheme = storage.split("://", maxsplit=1)[0]  # the rest may have a password
        raise _refusal(f"`{scheme}://...` is not the URL of a database") from None
    kind, _, driver = url.drivername.partition("+")
    if kind not in _DRIVERS:
        raise _refusal(f"studies are not stored in `{kind}` databases")
    if driver and driver not in _DRIVERS[kind]:
        raise _refusal(f"studies do not use the driver `{driver}`")
    if "@" in (url.host or ""):  # it would be printed
        raise _refusal("the password of the URL has an `@`, which is written `%40` there")
    if kind == "sqlite" and (url.database in (None, "", ":memory:") or str(url.database).startswith("file:")):
        raise _refusal("the SQLite database has no file that processes could share")
    return url


def with_driver(url: URL) -> URL:
    """The URL with the driver that it names, or else the best that is installed; NablacError if there is none."""
    kind, _, named = url.drivername.partition("+")
    drivers = _DRIVERS[kind]
    if not drivers:
        return url
    candidates = [named] if named else list(drivers)
    driver = next((name for name in candidates if find_spec(drivers[name][0]) is not None), None)
    if driver is None:
        message = f"a storage at {url.drivername}:// needs a package for it"
        hint = f"pip install '{drivers[candidates[0]][1]}'"
        raise NablacError(Diagnostic(codes.E809, message, place="--storage", hint=hint))
    return url.set(drivername=f"{kind}+{driver}") if driver else url


def _refusal(message: str) -> NablacError:
    return NablacError(Diagnostic(codes.E874, message, place="--storage", hint=f"name one of {_FORMS}"))

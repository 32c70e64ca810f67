"""Storages of a study in databases: shared, resumed and refused, and passwords that stay secret."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.command_line import invoke
from tests.nablac.tuned import rows, tune, unclocked, write_model

pytest.importorskip("optuna")

from runtime.search.storage_urls import hide_password
from runtime.search.storages import absolute, without_password
from runtime.training.run_sessions import begun_session, mask_passwords

OPTIONS = ("--search", "random", "--epochs", "1")


def test_workers_in_several_folders_share_a_database(tmp_path: Path) -> None:
    write_model(tmp_path)
    storage = ("--storage", "sqlite:///shared.db")
    tune(tmp_path, *OPTIONS, "--trials", "2", *storage, "-q", "-o", "one")
    tune(tmp_path, *OPTIONS, "--trials", "4", *storage, "-q", "-o", "two")
    tune(tmp_path, *OPTIONS, "--trials", "4", "-q", "-o", "alone")
    tune(tmp_path, "--resume", "one", *storage, "-q", file="")
    assert unclocked(tmp_path / "one") == unclocked(tmp_path / "two") == unclocked(tmp_path / "alone")
    assert sorted(path.name for path in (tmp_path / "two" / "trials").iterdir()) == ["2", "3"]
    other = invoke("tune", "net.model", *OPTIONS, "--seed", "7", *storage, "-o", "three", folder=tmp_path)
    assert other.exit_code == 2 and "it holds a study of another model" in other.stderr
    elsewhere = invoke("tune", "--resume", "one", "--storage", "sqlite:///other.db", folder=tmp_path)
    assert elsewhere.exit_code == 2 and "error[E870]: one was started with --storage sqlite:///" in elsewhere.stderr
    assert not (tmp_path / "three").exists() and not (tmp_path / "other.db").exists()


def test_a_trial_of_a_dead_worker_is_resumed_from_a_database(tmp_path: Path) -> None:
    from runtime.search.resuming import resume_study

    write_model(tmp_path)
    storage = ("--storage", "sqlite:///shared.db")
    tune(tmp_path, *OPTIONS, "--trials", "2", "--time", "0", *storage, "-q", "-o", "study")
    resume_study(tmp_path / "study").study.ask()  # by a worker that has died
    tune(tmp_path, "--resume", "study", "-q", file="")
    assert [row["state"] for row in rows(tmp_path / "study")] == ["done", "done"]


def test_databases_of_other_programs_are_left_as_they_are(tmp_path: Path) -> None:
    write_model(tmp_path)
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE TABLE accounts (name TEXT)")
    for name, said in [("other.db", "a database of another program"), ("rows.csv", "not an SQLite database")]:
        before = (tmp_path / name).read_bytes()
        ended = invoke("tune", "net.model", "--storage", f"sqlite:///{name}", folder=tmp_path)
        assert ended.exit_code == 2 and f"error[E871]: {tmp_path / name} cannot store this study" in ended.stderr
        assert said in ended.stderr
        assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("oracle://me:hidden@host/db", "error[E874]: studies are not stored in `oracle` databases"),
        ("postgresql+asyncpg://me:hidden@host/db", "error[E874]: studies do not use the driver `asyncpg`"),
        ("postgresql://me:hidden@b@host/db", "error[E874]: the password of the URL has an `@`"),
        ("sqlite://", "error[E874]: the SQLite database has no file"),
        ("://hidden", "error[E874]: `://...` is not the URL of a database"),
        ("sqlite:////nowhere/hidden/x.db", "error[E904]: "),
        ("postgresql://me:hidden@127.0.0.1:1/db", "error[E809]: a storage at postgresql:// needs a package"),
        ("mysql://me:hidden@127.0.0.1:1/db", "pip install 'PyMySQL'"),
        ("mysql+mysqldb://me:hidden@127.0.0.1:1/db", "pip install 'mysqlclient'"),
        ("redis://me:hidden@127.0.0.1:1", "pip install 'redis'"),
    ],
)
def test_refused_storages(tmp_path: Path, storage: str, message: str) -> None:
    write_model(tmp_path)
    with patch("runtime.search.storage_urls.find_spec", return_value=None):
        ended = invoke("tune", "net.model", "--storage", storage, "-o", "study", folder=tmp_path)
    assert (ended.exit_code, message in ended.stderr) == (2, True), ended.output
    assert "me:hidden" not in ended.output and not (tmp_path / "study").exists()


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    write_model(tmp_path)
    ended = invoke("tune", "net.model", "--storage", "postgresql://me:hidden@127.0.0.1:1/db", folder=tmp_path)
    assert ended.exit_code == 2 and "error[E874]: postgresql://me@127.0.0.1:1/db cannot be used" in ended.stderr
    assert "refused" in ended.stderr and "hidden" not in ended.output


SECRETS = [
    ("postgresql://me:p%40ss@host:5/db?sslmode=require", "postgresql://me@host:5/db?sslmode=require"),
    ("postgresql://host/db?user=me&password=pw", "postgresql://host/db?user=me"),
    ("mysql+pymysql://me:pw@host/db", "mysql+pymysql://me@host/db"),
    ("redis://:pw@host:6379/1", "redis://host:6379/1"),
    ("sqlite:////data/x.db", "sqlite:////data/x.db"),
    ("/data/journal.log", "/data/journal.log"),
]


@pytest.mark.parametrize(("storage", "name"), SECRETS)
def test_names_have_no_password_and_name_the_same_storage(storage: str, name: str) -> None:
    assert without_password(absolute(storage)) == name
    assert absolute(name) == without_password(name)


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("postgresql://me:p%40ss@host:5/db", "postgresql://me:***@host:5/db"),
        ("--storage=redis://:a@b@host", "--storage=redis://:***@host"),
        ("mysql://me@host/db?PassWord=x&ssl=1", "mysql://me@host/db?PassWord=***&ssl=1"),
        ("postgresql://me@host:5/db", "postgresql://me@host:5/db"),
        ("adam(lr: 0.1, note: a@b)", "adam(lr: 0.1, note: a@b)"),
    ],
)
def test_commands_are_recorded_without_passwords(argument: str, shown: str) -> None:
    assert mask_passwords(argument) == shown


def test_what_a_driver_says_has_no_password() -> None:
    said = hide_password("cannot connect with p@ss to db", "postgresql://me:p%40ss@host/db")
    assert said == "cannot connect with *** to db"


def test_a_session_has_its_command_without_the_password() -> None:
    with patch.object(sys, "argv", ["/bin/nablac", "tune", "--storage", "redis://:hidden@host"]):
        assert begun_session()["command"] == "nablac tune --storage 'redis://:***@host'"

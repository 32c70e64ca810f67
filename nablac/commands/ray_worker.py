"""One of the workers of `nablac train --engine ray`: an actor that runs the command, and sends what it prints."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.workers.collective import By
from runtime.workers.ray_cluster import require_ray
from runtime.workers.ray_collective import Exchange, LostWorker, RayCollective

WATCH = "watch"  # the concurrency group of the methods that the watching command calls while `run` runs
_LONGEST_SILENCE = 5.0  # seconds after which `read` returns with nothing


@dataclass(frozen=True)
class Terminal:
    """What the streams of the watching command are."""

    is_terminal: dict[str, bool]  # by stream
    encoding: str
    variables: dict[str, str]  # of the environment

    @staticmethod
    def present() -> Terminal:
        """That of this process."""
        streams = {"stdout": sys.stdout, "stderr": sys.stderr}
        names = ("NO_COLOR", "TERM", "COLORTERM", "NABLAC_DEBUG")
        variables = {name: os.environ[name] for name in names if name in os.environ}
        sizes = [os.get_terminal_size(stream.fileno()) for stream in streams.values() if stream.isatty()]
        if sizes and all(sizes[-1]):  # a terminal without a size has 0
            variables |= {"COLUMNS": str(sizes[-1].columns), "LINES": str(sizes[-1].lines)}
        elif "COLUMNS" in os.environ:
            variables["COLUMNS"] = os.environ["COLUMNS"]
        for name, value in os.environ.items():
            if name.startswith(("MLFLOW_", "WANDB_")):  # of trackers, which the first worker reports to
                variables[name] = value
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        return Terminal({name: stream.isatty() for name, stream in streams.items()}, encoding, variables)


@dataclass(frozen=True)
class Task:
    """What a worker is to do."""

    rank: int
    arguments: list[str]  # of `nablac`
    local: tuple[int, int]  # its rank among the workers on its machine, and how many they are
    timeout: float  # seconds in which the others have to answer
    terminal: Terminal


@dataclass(frozen=True)
class News:
    """What a worker has printed, as texts by stream, since the last; the run's folder once it exists."""

    printed: list[tuple[str, str]]
    folder: Path | None
    has_ended: bool


@dataclass(frozen=True)
class Ended:
    """A worker that has ended by itself: its exit status, or why it lost the others."""

    status: int
    lost: str = ""


class TrainingWorker:
    """The actor; its methods run in threads of three groups, of which one runs the command."""

    def __init__(self, size: int) -> None:
        self._exchange = Exchange(size)
        self._changed = threading.Condition()
        self._printed: list[tuple[str, str]] = []
        self._folder: Path | None = None
        self._is_new = self._has_ended = False

    def machine(self, folder: str) -> tuple[str, bool]:
        """The node that it runs on, and whether that has the folder where the command was started."""
        if os.path.isdir(folder):
            os.chdir(folder)
            return require_ray().get_runtime_context().get_node_id(), True
        return os.uname().nodename, False

    def combine(self, number: int, rank: int, item: Any, by: By | None) -> Any:
        """As `Exchange.combine`."""
        return self._exchange.combine(number, rank, item, by)

    def run(self, task: Task, peers: list[Any]) -> Ended:
        """Run the command as one of the workers `peers`."""
        from nablac.commands import main
        from nablac.commands.worker_processes import joined

        collective = RayCollective(task.rank, peers, self._exchange, task.local, task.timeout, self._run_begun)
        sys.argv = ["nablac", *task.arguments]
        os.environ.update(task.terminal.variables)
        status = 1
        try:
            with _streams(task.terminal, self._print), joined(collective):
                main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except LostWorker as error:
            return Ended(1, str(error))
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()
        return Ended(status)

    def read(self) -> News:
        """What is new; it waits for something."""
        with self._changed:
            self._changed.wait_for(lambda: self._printed or self._is_new or self._has_ended, _LONGEST_SILENCE)
            printed, self._printed, self._is_new = self._printed, [], False
            return News(printed, self._folder, self._has_ended)

    def interrupt(self, number: int) -> None:
        """Handle a signal as a process would."""
        from nablac.commands.signals import deliver

        deliver(number)

    def _print(self, stream: str, text: str) -> None:
        with self._changed:
            self._printed.append((stream, text))
            self._changed.notify_all()

    def _run_begun(self, folder: Path) -> None:
        with self._changed:
            self._folder = folder.absolute()
            self._is_new = True
            self._changed.notify_all()


class _Stream(io.TextIOBase):
    """A stream whose text goes to the terminal of the watching command."""

    def __init__(self, name: str, terminal: Terminal, write: Any) -> None:
        self._name, self._terminal, self._write = name, terminal, write

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._terminal.encoding

    def isatty(self) -> bool:
        return self._terminal.is_terminal[self._name]

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # by which click tells apart streams of text and of bytes
            raise TypeError("text expected")
        self._write(self._name, text)
        return len(text)


@contextmanager
def _streams(terminal: Terminal, write: Any) -> Iterator[None]:
    """Standard output and error as those of the watching command."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Stream("stdout", terminal, write), _Stream("stderr", terminal, write)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before

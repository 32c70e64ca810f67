"""Runs commands in forked child processes with limits of time and memory, so that many cases share one start-up."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

SECONDS = 10  # of processor time
BYTES = 2 << 30  # of memory in addition to that of the parent
WALL = 120  # seconds, after which a child that waits is ended
_LIBRARIES = (
    "numpy",
    "onnx",
    "onnxruntime",
    "safetensors.numpy",
    "ml_dtypes",
    "PIL.Image",
    "tokenizers",
    "pyarrow.parquet",
)
_MODULES = (
    "nablac.model", "nablac.model_summary", "runtime.onnx_session", "runtime.weights", "runtime.input_files",
    "runtime.training.training_run", "runtime.training.folder", "runtime.numpy_executor", "compiler.onnx.exporter",
    "runtime.verification", "runtime.data.sources", "runtime.generation.generator",
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """The result of a command: its exit status, or the negative signal that ended it, and its output."""

    status: int
    seconds: float
    megabytes: int
    output: str
    errors: str

    @property
    def fault(self) -> str | None:
        """A violation of the rules, if there is one."""
        if self.status not in (0, 1, 2):
            return f"status {self.status}"
        if "Traceback" in self.errors or "panicked" in self.errors:
            return "a traceback"
        if "\x1b" in self.output + self.errors:
            return "an escape character"
        if len(self.output) + len(self.errors) > 100_000:
            return f"{len(self.output) + len(self.errors):,} characters"
        return None


def preload() -> None:
    """Import the modules of all commands, so that the children need not."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import nablac.commands

    for name in (*_LIBRARIES, *_MODULES, *(f"nablac.commands.{command}" for command in nablac.commands.COMMANDS)):
        import_module(name)


def run(arguments: list[str], folder: Path) -> Ended:
    """Run `nablac` with these arguments in a folder."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            _command(arguments, folder, output.fileno(), errors.fileno())
        _, status, usage = os.wait4(child, 0)
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    seconds = min(time.monotonic() - started, usage.ru_utime + usage.ru_stime)
    return Ended(os.waitstatus_to_exitcode(status), seconds, usage.ru_maxrss // 1024, *texts)


def _command(arguments: list[str], folder: Path, output: int, errors: int) -> None:
    """Run the command in the child process; does not return."""
    status = 99
    try:
        os.chdir(folder)
        for number, handle in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, errors)):
            os.dup2(handle, number)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (here + BYTES, here + BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(WALL)
        sys.argv = ["nablac", *arguments]
        from nablac.commands import main

        try:
            main()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 0
        except BaseException:
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)

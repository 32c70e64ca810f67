"""The cold command line: processor time of whole processes, against `import onnx`."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.processes import run_in_turns
from benchmarks.results import Row
from benchmarks.tables import Settings

NOTE = "Bytecode is cached. A bare Python is shown beside them."
COMMANDS = {
    "nablac --help": ("-m", "nablac", "--help"),
    **{
        f"nablac check {spec}": ("-m", "nablac", "check", f"specs/{spec}.model")
        for spec in ("lstm", "transformer", "gpt")
    },
}
PEERS = {"import onnx": ("-c", "import onnx"), "bare Python": ("-c", "pass")}


def rows(settings: Settings) -> Iterator[Row]:
    chosen = settings.chosen(list(COMMANDS))
    usages = run_in_turns({name: COMMANDS[name] for name in chosen} | PEERS, 3 if settings.quick else 9)
    peers = {name: usages[name].processor_time(1000) for name in PEERS}
    for name in chosen:
        usage = usages[name]
        figures = {name: usage.processor_time(1000)} if usage.seconds else {}
        yield Row("start", name, "ms, processor time", figures | peers, {name: usage.failure} if usage.failure else {})

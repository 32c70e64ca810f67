"""Times of the kernels of onnxruntime's sessions, by its own profiler, and the nodes of the model that they come from.

onnxruntime fuses nodes and adds some of its own. A fused kernel computes the last of its nodes' results under the name
that it has in the model: by the graph that onnxruntime has made of the model, it is ascribed to that node.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.onnx.lowered import LAYER, SOURCE
from runtime.profiling.timing import Kind, Timing, line_of

if TYPE_CHECKING:
    import onnx
    from onnxruntime import InferenceSession, SessionOptions

_KERNEL = "_kernel_time"  # after the name of a node
_BLOCKED = "_nchwc"  # after the name of a node whose kernel has another layout of channels
_LARGEST = 1 << 30  # bytes of a model; the graph that onnxruntime makes of a larger one is not written and read


@dataclass
class _Session:
    """A watched session: its model, and where onnxruntime writes the graph that it has made of it."""

    session: InferenceSession
    model: bytes | str | Path
    optimized: Path


@dataclass
class _Total:
    """What was measured of one node; `operator` is onnxruntime's name of its kernel."""

    operator: str
    seconds: float = 0.0
    calls: int = 0


@dataclass
class SessionTimes:
    """Watches sessions, with a folder for the files that onnxruntime writes."""

    folder: Path
    sessions: list[_Session] = field(default_factory=list)

    def before_session(self, options: SessionOptions) -> None:
        """Turn onnxruntime's profiler on."""
        number = len(self.sessions)
        options.enable_profiling = True
        options.profile_file_prefix = str(self.folder / f"trace{number}")
        options.optimized_model_filepath = str(self.folder / f"optimized{number}.onnx")

    def after_session(self, session: InferenceSession, model: Any) -> None:
        """Note the session."""
        self.sessions.append(_Session(session, model, self.folder / f"optimized{len(self.sessions)}.onnx"))

    def timings(self, runs: int, counted: Collection[int]) -> list[Timing]:
        """What was measured in an average of the `counted` runs, of all `runs`, by their numbers from the last: -1."""
        return [timing for watched in self.sessions for timing in _timings(watched, runs, counted)]


def _timings(watched: _Session, runs: int, counted: Collection[int]) -> Iterator[Timing]:
    trace = Path(watched.session.end_profiling())
    events = json.loads(trace.read_text("utf-8", "replace"))
    sessions = sorted(event["ts"] for event in events if event["name"] == "model_run")
    if not sessions:  # it was created and has not run
        return
    of_run = len(sessions) // runs
    totals: dict[str, _Total] = {}
    for event, own in _own_times(event for event in events if event["cat"] == "Node"):
        run = (bisect_right(sessions, event["ts"]) - 1) // of_run
        if run - runs not in counted:
            continue
        name = event["name"].removesuffix(_KERNEL)
        total = totals.setdefault(name, _Total(event["args"].get("op_name", "")))
        total.seconds += own / 1e6
        total.calls += 1
    nodes = _origins(watched)
    for name, total in totals.items():
        seconds, calls = total.seconds / len(counted), total.calls / len(counted)
        origin = nodes.get(name) or nodes.get(name.removesuffix(_BLOCKED))
        if origin is None:
            yield Timing(total.operator, seconds, calls, Kind.FUSED)
            continue
        layer, source = origin
        lines = (line_of(source),) if source else ()
        yield Timing(total.operator, seconds, calls, Kind.OPERATOR, layer, lines)


def _own_times(events: Iterator[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], float]]:
    """Each event with its microseconds, without those of the events inside it, as of the nodes in a Scan's step."""
    around: list[tuple[dict[str, Any], list[float]]] = []
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        while around and event["ts"] >= around[-1][0]["ts"] + around[-1][0]["dur"]:
            done, inner = around.pop()
            yield done, max(done["dur"] - sum(inner), 0)
        if around:
            around[-1][1].append(event["dur"])
        around.append((event, []))
    for done, inner in around:
        yield done, max(done["dur"] - sum(inner), 0)


def _origins(watched: _Session) -> Mapping[str, tuple[str, str]]:
    """The layer and the location of nodes, by the names that they have in onnxruntime's trace."""
    import onnx

    model = watched.model
    if isinstance(model, bytes):
        written = onnx.load_model_from_string(model)
    else:
        written = onnx.load_model(str(model), load_external_data=False)
    by_name: dict[str, tuple[str, str]] = {}
    by_result: dict[str, tuple[str, str]] = {}
    for node in _every_node(written.graph):
        metadata = {entry.key: entry.value for entry in node.metadata_props}
        origin = metadata.get(LAYER, ""), metadata.get(SOURCE, "")
        by_name.setdefault(node.name, origin)
        for result in node.output:
            by_result.setdefault(result, origin)
    if watched.optimized.is_file() and os.path.getsize(watched.optimized) <= _LARGEST:
        for node in _every_node(onnx.load_model(str(watched.optimized), load_external_data=False).graph):
            origins = [by_result[result] for result in node.output if result in by_result]
            if origins:
                by_name.setdefault(node.name, origins[0])
    return by_name


def _every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    waiting = [graph]
    while waiting:
        for node in waiting.pop().node:
            yield node
            waiting.extend(attribute.g for attribute in node.attribute if attribute.HasField("g"))

"""Where onnxruntime has put the nodes of a session: a device's provider leaves the CPU's what it lacks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from compiler.onnx.device import computing_nodes
from compiler.onnx.lowered import SOURCE
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

if TYPE_CHECKING:
    import onnx
    from onnxruntime import InferenceSession, SessionOptions

_RECORD = "session.record_ep_graph_assignment_info"
_MOST_SHOWN = 6  # operators


def record_placement(options: SessionOptions) -> None:
    """Let the session that is created with these options note where it puts nodes."""
    options.add_session_config_entry(_RECORD, "1")


def nodes_elsewhere(session: InferenceSession, model: onnx.ModelProto, provider: str) -> list[onnx.NodeProto]:
    """The nodes of a session's model that another provider runs, but for arithmetic on sizes, which no device runs.

    The session was created with `record_placement`. Nodes that onnxruntime adds or fuses are not counted.
    """
    computing = computing_nodes(model)
    parts = session.get_provider_graph_assignment_info()
    placed = [node.name for part in parts if part.ep_name != provider for node in part.get_nodes()]
    return [computing[name] for name in placed if name in computing]


def require_placement(session: InferenceSession, model: onnx.ModelProto, provider: str, device: str) -> None:
    """NablacError if a node of the model would run elsewhere than on the device, between copies."""
    nodes = nodes_elsewhere(session, model, provider)
    if not nodes:
        return
    counts = Counter(node.op_type for node in nodes)
    shown = [f"{count} {name}" for name, count in counts.most_common(_MOST_SHOWN)]
    if len(counts) > _MOST_SHOWN:
        shown.append(f"{len(counts) - _MOST_SHOWN} other operators")
    sources = (entry.value for node in nodes for entry in node.metadata_props if entry.key == SOURCE)
    what = "1 node of this model has" if len(nodes) == 1 else f"{len(nodes)} nodes of this model have"
    raise NablacError(
        Diagnostic(
            codes.E910,
            f"{what} no kernel on `{device}`: {', '.join(shown)}",
            place=next(sources, f"device `{device}`"),
            note="onnxruntime would run them on the processor, and copy their operands there and back in each run",
            hint="write these equations with other operators, or run on the CPU; "
            "`nablac compile --target ort-cuda` lists them",
        )
    )

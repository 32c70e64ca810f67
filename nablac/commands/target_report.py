"""What `nablac compile` says of a target: the nodes of a file that would leave its device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, TypedDict

from compiler.targets import Target
from nablac.commands.output import note

if TYPE_CHECKING:
    import onnx


class LeavingJson(TypedDict):
    """Nodes without a kernel on the target's device."""

    operator: Annotated[str, "its ONNX name"]
    type: Annotated[str, "of its main operand; empty where it is not known"]
    nodes: Annotated[int, "how many"]
    source: Annotated[str | None, "the first line that needs it, as `file:line:column`"]


class TargetJson(TypedDict):
    """What a file is for."""

    target: Annotated[str, "the runtime that it is for, as in `--target`"]
    leaving: Annotated[list[LeavingJson], "nodes that run on the processor instead"]


_MOST_SHOWN = 12  # rows; more are summed up


def target_facts(target: Target, models: Iterable[onnx.ModelProto]) -> TargetJson:
    """The target's name, and the nodes of the models that leave its device, as `--json` prints them."""
    from compiler.onnx.device import leaving_nodes

    rows = [row for model in models for row in leaving_nodes(model, target)]
    leaving = [LeavingJson(operator=row.onnx_type, type=row.dtype, nodes=row.count, source=row.source) for row in rows]
    return {"target": target.name, "leaving": leaving}


def say_what_leaves(target: Target, leaving: list[LeavingJson]) -> None:
    """A line for each operator without a kernel on the target's device, with the first line of text that needs it."""
    if target.device is None or not leaving:
        return
    count = sum(row["nodes"] for row in leaving)
    nodes = "1 node has no kernel" if count == 1 else f"{count} nodes have no kernel"
    where = "it runs" if count == 1 else "they run"
    note(f"{nodes} on {target.device}: {where} on the processor, between copies")
    for row in leaving[:_MOST_SHOWN]:
        source = f", first at {row['source']}" if row["source"] else ""
        note(f"  {row['nodes']} {row['operator']} of {row['type'] or 'unknown type'}{source}")
    if len(leaving) > _MOST_SHOWN:
        rest = leaving[_MOST_SHOWN:]
        note(f"  {sum(row['nodes'] for row in rest)} of {len(rest)} more kinds")

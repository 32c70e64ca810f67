"""The names of an exported model's outputs."""

from __future__ import annotations

from compiler.graph import Graph
from compiler.operators.leaves import Stored
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError


def end_names(graph: Graph) -> tuple[str, ...]:
    """The names of the exported model's outputs: the graph's outputs, then `<path>.next` for its updates.

    All names in an ONNX graph are distinct: an output with the name of an input or weight gets the suffix `.output`.
    """
    taken = set(graph.inputs)
    taken.update(node.op.path for node in graph if isinstance(node.op, Stored))
    names: list[str] = []
    for name in graph.outputs:
        while name in taken:
            name += ".output"
        taken.add(name)
        names.append(name)
    for path in graph.updates:
        name = f"{path}.next"
        if name in taken:  # programs that carry states from step to step rely on this name
            message = f"in ONNX `{name}` is the next value of `{path}`, but {graph.name} has a weight of this name"
            hint = "rename the layer or the parameter"
            raise NablacError(Diagnostic(codes.E912, message, place=graph.name, hint=hint))
        names.append(name)
    return tuple(names)

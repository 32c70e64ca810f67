"""Copying layers: an application equal to an earlier one gets a copy of its nodes, and its body is not run again.

A network repeats its blocks, which differ in nothing but the paths of their weights and random draws. A body sees its
hyperparameters, its inputs' types and the session, and nothing else of the model; so applications that agree in these
have equal nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from compiler.elaborate.applications import Application
from compiler.elaborate.definition_bodies import declared_inputs
from compiler.elaborate.session import Session
from compiler.elaborate.values import NONE, Argument, Builtin, CompileTimeValue, Defined, Instance, Primitive
from compiler.elaborate.work import COPY
from compiler.graph import Graph, Node, Operator, Value
from compiler.operators.control import Scan
from compiler.operators.leaves import Constant, Stored
from compiler.operators.random import FoldKey
from compiler.origins import Origin, ResultName
from compiler.types import TensorType
from grammar.source import Span


class DeferredGraph(Graph):
    """A graph that is built when it is first read, as that of an initial value, which only a run reads."""

    def __init__(self, build: Callable[[], Graph]) -> None:
        vars(self)["_build"] = build

    def __getattr__(self, name: str) -> Any:
        build = vars(self).pop("_build", None)
        if build is None:
            raise AttributeError(name)
        vars(self).update(vars(build()))
        return getattr(self, name)


def application_key(session: Session, instance: Instance, arguments: Sequence[Argument]) -> Hashable | None:
    """What the nodes of the first application of an instance depend on; None where that is more than a key can say.

    A body inside a scan adds to the scan's states. Of a constant or a weight it may read more than the type.
    """
    if instance.defined.kind != "layer" or session.scans or instance.path in session.layers:
        return None
    try:
        hypers = tuple(map(_hyper_key, instance.hypers.values()))
        inputs = tuple((argument.name, _input_key(argument.value)) for argument in arguments)
    except TypeError:
        return None
    values = [argument.value for argument in arguments]
    same = tuple(next(index for index, other in enumerate(values) if other is value) for value in values)
    return instance.defined, hypers, inputs, same


def _hyper_key(value: CompileTimeValue) -> Hashable:
    """A hyperparameter by its kind and value, so that 1 is neither 1.0 nor true; TypeError for what has a state."""
    if isinstance(value, list):
        return list, tuple(map(_hyper_key, value))
    if isinstance(value, (bool, int, float, str, Defined, Builtin, Primitive)) or value is NONE:
        return type(value), repr(value) if isinstance(value, float) else value
    raise TypeError


def _input_key(value: CompileTimeValue) -> TensorType | None:
    """The type of an input, None for an absent one; TypeError for anything else."""
    if value is NONE:
        return None
    if not isinstance(value, Value) or isinstance(value.node.op, (Constant, Stored)):
        raise TypeError
    return value.type


def copy_application(
    session: Session, key: Hashable, instance: Instance, arguments: Sequence[Argument], span: Span
) -> CompileTimeValue | None:
    """The outputs of a copy of the application with this key; None where there is none.

    Draws of an initial value have another seed than those of the model.
    """
    known = session.applications.get(key)
    if known is None or (known.key is not None and known.key is not session.key):
        return None
    session.charge(COPY * known.size, span)
    return _Copy(session, known, instance, arguments).outputs()


class Recording:
    """What an application adds to the session, from here until it is kept."""

    def __init__(self, session: Session, instance: Instance, arguments: Sequence[Argument]) -> None:
        self.session, self.instance = session, instance
        self.inputs = [argument.value for argument in arguments]
        self.before = self._counts()
        self.choices = self._choices()

    def _counts(self) -> tuple[int, int, int]:
        session = self.session
        return len(session.parameters), len(session.updates), len(session.layers)

    def _choices(self) -> tuple[int, int, int]:
        """What no body changes whose copy is a whole one."""
        session = self.session
        return session.resolved_count, len(session.spreads), len(session.diagnostics.reported)

    def keep(self, key: Hashable, outputs: CompileTimeValue) -> None:
        """Let later applications with this key be copies, if everything that this one did can be copied."""
        values = outputs if isinstance(outputs, tuple) else (outputs,)
        tensors = tuple(value for value in values if isinstance(value, Value))
        if self._choices() != self.choices or len(tensors) < len(values):
            return
        session = self.session
        parameters, updates, layers = self.before
        session.applications[key] = Application(
            self.instance,
            self.inputs,
            tensors,
            isinstance(outputs, tuple),
            dict(islice(session.parameters.items(), parameters, None)),
            dict(islice(session.updates.items(), updates, None)),
            dict(islice(session.layers.items(), layers, None)),
            session.key,
        )


class _Copy:
    """A copy of an application for another instance: the same nodes below the other's path."""

    def __init__(self, session: Session, known: Application, instance: Instance, arguments: Sequence[Argument]) -> None:
        self.session, self.known, self.instance = session, known, instance
        self.before, self.path = known.instance.path or "", instance.path or ""
        self.paths: dict[str, str] = {}
        self.values: dict[Value, Value] = {value: value for value in known.fixed}
        inputs = [declared.name.text for declared in declared_inputs(instance.defined.syntax)]
        named = {argument.name for argument in arguments}
        rest = iter([name for name in inputs if name not in named])
        for value, argument in zip(known.inputs, arguments, strict=True):
            other, name = argument.value, argument.name or next(rest)
            if isinstance(value, Value) and isinstance(other, Value):
                self.values[value] = other
                other.node.add_name(ResultName(other.index, name, False, self.path, 0, argument.span))

    def outputs(self) -> CompileTimeValue:
        """The outputs; what the application adds to the session is added."""
        known, session, values = self.known, self.session, self.values
        self._copy_nodes(known.nodes, values)
        for path, value in known.parameters.items():
            session.parameters[self._moved(path)] = values[value]
        for name, value in known.instance.parameters.items():
            self.instance.parameters[name] = values[value]
        for path, value in known.updates.items():
            session.updates[self._moved(path)] = values[value]
        for path, layer in known.layers.items():
            session.layers[self._moved(path)] = layer
        outputs = tuple(values[value] for value in known.outputs)
        return outputs if known.several else outputs[0]

    def _copy_nodes(self, nodes: Sequence[Node], values: dict[Value, Value]) -> None:
        """Copy nodes in order; `values` has the copies of their operands, and gets those of their results."""
        for node in nodes:
            operands = tuple([values[operand] for operand in node.operands])
            types = [result.type for result in node.results]
            copied = Node(self._operator(node), operands, types, self._origin(node.origin))
            values.update(zip(node.results, copied.results, strict=True))

    def _origin(self, origin: Origin) -> Origin:
        """The origin of a copy: names of the layers around the copied instance are not the copy's."""
        names = [name.replace(path=self._moved(name.path)) for name in origin.names if self._is_inside(name.path)]
        return Origin(origin.span, self._moved(origin.path), tuple(names))

    def _is_inside(self, path: str) -> bool:
        return path == self.before or path.startswith((f"{self.before}.", f"{self.before}/"))

    def _operator(self, node: Node) -> Operator:
        op = node.op
        if isinstance(op, Stored):
            initial = None if op.initial is None else DeferredGraph(partial(self._copy_graph, op.initial))
            return type(op)(self._moved(op.path), op.type, initial)
        if isinstance(op, FoldKey):
            return op.replace(stream=self._moved(op.stream))
        if isinstance(op, Scan):
            return op.replace(body=self._copy_graph(op.body))
        return op

    def _copy_graph(self, graph: Graph) -> Graph:
        """A nested graph."""
        inputs = {
            name: Node(value.node.op, (), [value.type], self._origin(value.node.origin)).result
            for name, value in graph.inputs.items()
        }
        values = dict(zip(graph.inputs.values(), inputs.values(), strict=True))
        self._copy_nodes([node for node in graph if node.results[0] not in values], values)
        outputs = {name: values[value] for name, value in graph.outputs.items()}
        return Graph(inputs, outputs, name=graph.name, doc=graph.doc)

    def _moved(self, path: str) -> str:
        """A path below that of the copied instance, below this one's."""
        moved = self.paths.get(path)
        if moved is None:
            inside = self._is_inside(path)
            moved = self.paths[path] = self.path + path[len(self.before) :] if inside else path
        return moved

"""Assigning arrays of the data, or some of their columns, to the inputs and targets of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Span
from runtime.data.examples import Examples
from runtime.data.stored_rows import StoredRows, change_rows

if TYPE_CHECKING:
    from compiler.types import Array


@dataclass(frozen=True, eq=False)
class Assigned:
    """The data for the model's `name`: the array `source`, or some `columns` of it."""

    name: str
    source: str
    array: Array | StoredRows
    columns: tuple[str, ...]
    samples: Array | StoredRows | None


def assign(
    examples: Examples, inputs: Mapping[str, TensorType], targets: Mapping[str, TensorType], span: Span | None
) -> list[Assigned]:
    """For each input and target the array of its name, else the next of the data's inputs, or of its targets.

    If the data does not say which arrays are inputs, as in an `.npz`, one array of another name is assigned to the one
    input or target that is left. Inputs with the names of columns take these columns, and one of another name takes
    the other columns. NablacError if nothing is left for an input or a target, or if columns are left over.
    """
    assignments: list[Assigned] = []
    named = bool(examples.inputs or examples.targets)  # whether the data says which arrays are inputs
    if not named:
        _check_names(examples, {**inputs, **targets}, span)
    for types, sources in ((inputs, examples.inputs), (targets, examples.targets)):
        spare = [name for name in (sources if named else examples.arrays) if name not in inputs and name not in targets]
        waiting = [name for name in types if name not in examples.arrays]
        assignments += [_whole(examples, name, name) for name in types if name in examples.arrays]
        split = [source for source in spare if len(types) > 1 and set(waiting) & set(examples.columns.get(source, ()))]
        for source in split:
            spare.remove(source)
            columns = examples.columns[source]
            own = [name for name in waiting if name in columns]
            assignments += [_columns(examples, name, source, [columns.index(name)]) for name in own]
            waiting = [name for name in waiting if name not in own]
            rest = [index for index, column in enumerate(columns) if column not in own]
            if rest and waiting:
                assignments.append(_columns(examples, waiting.pop(0), source, rest))
            elif rest:
                listed = ", ".join(f"`{columns[index]}`" for index in rest)
                raise NablacError(Diagnostic(codes.E824, f"no input or target of the model is called {listed}", span))
        for name in waiting:
            if not spare:
                known = ", ".join(f"`{source}` {example_type(array)}" for source, array in examples.arrays.items())
                message = f"the model needs `{name}`: {types[name]}, and the data has {known}"
                hint = (
                    "name its columns: `columns(inputs: ..., targets: ...)`" if named and not examples.targets else None
                )
                raise NablacError(Diagnostic(codes.E824, message, span, hint=hint))
            alike = [source for source in spare if (source in examples.tokenizers) == _is_of_tokens(types[name])]
            source = (alike or spare)[0]
            spare.remove(source)
            assignments.append(_whole(examples, name, source))
        _check_known(examples, spare, inputs, span)
        unread = next((source for source in spare if source in examples.tokenizers), None)
        if unread is not None:
            message = f"no input of the model is left for the texts of `{unread}`"
            raise NablacError(Diagnostic(codes.E824, message, span))
    return assignments


def _is_of_tokens(type: TensorType) -> bool:
    return type.rank == 2 and type.dtype.is_integer


def _check_known(examples: Examples, spare: Sequence[str], inputs: Mapping[str, TensorType], span: Span | None) -> None:
    """NablacError for known columns that no input takes."""
    unused = next((source for source in spare if source in examples.known), None)
    if unused is not None:
        columns = ", ".join(f"`{column}`" for column in examples.columns[unused])
        rows, count = examples.arrays[unused].shape[1:]
        message = f"no input of the model takes the known {columns}: it has {', '.join(f'`{name}`' for name in inputs)}"
        hint = f"declare one more, after that of the window: `input future: [batch, {rows}, {count}]`"
        raise NablacError(Diagnostic(codes.E824, message, span, hint=hint))


def _check_names(examples: Examples, types: Mapping[str, TensorType], span: Span | None) -> None:
    """NablacError if the names of the arrays leave more than one assignment."""
    waiting = [name for name in types if name not in examples.arrays]
    spare = [name for name in examples.arrays if name not in types]
    if len(waiting) > 1 <= len(spare) or (waiting and len(spare) > 1):
        needed = ", ".join(f"`{name}`" for name in waiting)
        message = f"the model needs {needed}, and the data has {', '.join(f'`{name}`' for name in spare)}"
        hint = "name the arrays after the model's inputs and targets"
        raise NablacError(Diagnostic(codes.E824, message, span, hint=hint))


def _whole(examples: Examples, name: str, source: str) -> Assigned:
    columns = examples.columns.get(source, ())
    return Assigned(name, source, examples.arrays[source], columns, examples.samples.get(source))


def _columns(examples: Examples, name: str, source: str, indices: Sequence[int]) -> Assigned:
    """Some columns of an array, along its last axis."""
    columns = tuple(examples.columns[source][index] for index in indices)
    samples = examples.samples.get(source)

    def pick(rows: Array) -> Array:
        return rows[..., indices]

    picked = change_rows(samples, pick) if samples is not None else None
    return Assigned(name, source, change_rows(examples.arrays[source], pick), columns, picked)


def example_type(array: Array | StoredRows) -> str:
    """The dtype and shape of an example, written like a type."""
    return f"{array.dtype}[{', '.join(map(str, array.shape[1:]))}]"

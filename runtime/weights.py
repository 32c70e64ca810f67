"""Weights by parameter path: written to `.safetensors` files, and fitted to a graph from files of foreign names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.graph import Graph
from compiler.training.parameters import check_matches, matches
from compiler.types import DType, TensorType, TypeMismatch
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean, nearest
from runtime.atomic_files import atomic_write
from runtime.foreign_names import foreign_layers, foreign_names
from runtime.initialization import stored_operators
from runtime.recurrent_layers import differing_layers
from runtime.rename_rules import read_renames
from runtime.renames import Entry, Rename, Renamed, apply_renames
from runtime.weight_files import read_metadata, read_tensors

if TYPE_CHECKING:
    from compiler.types import Array

__all__ = ["Rename", "fit_weights", "load_weights", "read_metadata", "read_renames", "read_tensors", "save_weights"]

_MOST_IDLE = 5  # rules without effect that are listed
_MOST_SHOWN = 3  # entries that are shown for all
_MOST_UNKNOWN = 20  # entries that are not the model's, each with a diagnostic
_USUAL_ORDERS = ((3, 2, 0, 1), (2, 1, 0), (4, 3, 0, 1, 2))  # of the axes of Keras's kernels, as PyTorch has them


def save_weights(path: str | Path, weights: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write weights to a `.safetensors` file, whole or not at all."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # Contiguous in memory: safetensors writes the buffer as it is, and ignores strides.
    arrays = {name: np.require(array, requirements="C") for name, array in weights.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(arrays, str(temporary), dict(metadata) if metadata else None)
        except SafetensorError as error:  # a failed write, such as on a full disk
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error)) from error


def load_weights(path: str | Path, graph: Graph, renames: Iterable[Rename] = ()) -> dict[str, Array]:
    """The weights of a graph from a file; one NablacError lists all missing, unknown and misshaped entries.

    Floats are converted to the model's float type and integers to its integer type, if they fit.
    """
    return fit_weights(read_tensors(path), graph, str(path), list(renames))


def fit_weights(
    arrays: Mapping[str, Array],
    graph: Graph,
    location: str,
    renames: Sequence[Rename] = (),
    optional: Callable[[], Iterable[Graph]] = tuple,
    *,
    fresh: Sequence[str] = (),
    say: Callable[[str], object] = lambda text: None,
) -> dict[str, Array]:
    """A graph's weights by path from arrays by foreign names, and those weights of `optional` graphs that exist.

    `optional` is called only if there are entries that do not belong to the graph, or patterns in `fresh`: weights
    whose paths match one are left out, whether they are in the file or not. `say` is called with a note on rules that
    match no entry.
    """
    expected = {op.path: op.type for op in stored_operators(graph)}
    try:
        return _fit(arrays, graph.name, expected, location, renames, optional, fresh=fresh, say=say)
    except NablacError:
        types = {path: type for path, type in expected.items() if not matches(path, fresh)}
        faults, entries, paths = differing_layers(arrays, renames, types, location)
        if not faults:
            raise
    others = {name: array for name, array in arrays.items() if name not in entries}
    expected = {path: type for path, type in expected.items() if path not in paths}
    try:
        _fit(others, graph.name, expected, location, renames, optional, fresh=fresh)
    except NablacError as error:
        faults += [fault for fault in error.diagnostics if fault.code != codes.E706]
    raise NablacError(*faults)


def _fit(
    arrays: Mapping[str, Array],
    model: str,
    expected: dict[str, TensorType],
    location: str,
    renames: Sequence[Rename],
    optional: Callable[[], Iterable[Graph]],
    *,
    fresh: Sequence[str],
    say: Callable[[str], object] = lambda text: None,
) -> dict[str, Array]:
    """See `fit_weights`; `expected` are the types of the model's weights by path."""
    ranks = {name: array.ndim for name, array in arrays.items()}
    renamed = apply_renames(ranks, renames, location, expected.__contains__)
    if fresh or any(path not in expected for path in renamed.entries):
        types = expected | {op.path: op.type for other in optional() for op in stored_operators(other)}
        check_matches("fresh", fresh, types)
        renamed = apply_renames(ranks, renames, location, types.__contains__)
        required = {path: type for path, type in expected.items() if not matches(path, fresh)}
        expected = required | {path: types[path] for path in renamed.entries if path in types}
    sources = {path: entry for path, entry in renamed.entries.items() if not matches(path, fresh)}
    expected = {path: type for path, type in expected.items() if not matches(path, fresh)}
    wrong = _strangers(model, expected, sources, arrays, location)
    fitted: dict[str, Array] = {}
    for path, type in expected.items():
        if path not in sources:
            continue
        array = sources[path].value(arrays)
        mistake = _misfit(path, array, type, location, sources[path], arrays)
        if mistake is not None:
            wrong.append(mistake)
        else:
            fitted[path] = np.require(array, type.dtype.numpy, ["C", "W"])
    idle = _idle_rules(renamed)
    if wrong:
        unmatched = [_idle_diagnostic(idle, list(arrays), location)] if idle is not None else []
        turned = [Diagnostic(codes.E706, message, place=location) for message in renamed.other_ranks]
        raise NablacError(*dict.fromkeys(wrong), *turned, *unmatched)
    for message in (*renamed.other_ranks, *([idle] if idle is not None else [])):
        say(f"note: {location}: {message}")
    return fitted


def _strangers(
    model: str,
    expected: Mapping[str, TensorType],
    sources: Mapping[str, Entry],
    arrays: Mapping[str, Array],
    location: str,
) -> list[Diagnostic]:
    """Diagnostics for weights that are not in the file, and entries that are not the model's."""
    wrong: list[Diagnostic] = []
    missing = [path for path in expected if path not in sources]
    unknown = [path for path in sources if path not in expected]
    ranks = {entry.name: arrays[entry.name].ndim for path in unknown if (entry := sources[path]).rule is None}
    foreign = foreign_names(ranks, expected.__contains__)
    layers = foreign_layers(ranks, expected.__contains__) if foreign is None else None
    if foreign is not None:
        renamed = {path for paths in foreign.paths.values() for path in paths}
        missing = [path for path in missing if path not in renamed]
        unknown = [path for path in unknown if path not in foreign.paths]
        hint = f"`--rename {foreign.rules}` makes parameters of {model} of them"
        wrong.append(Diagnostic(codes.E702, _of_a_framework(foreign.paths), place=location, hint=hint))
    elif layers is not None:
        wrong.append(Diagnostic(codes.E702, _of_a_framework(layers.paths), place=location, hint=layers.hint))
    for path in missing:
        message = f"`{path}`: {expected[path]} is missing"
        wrong.append(
            Diagnostic(
                codes.E701, message, place=location, hint=_suggest(path, expected[path], unknown, sources, arrays)
            )
        )
    for path in unknown[:_MOST_UNKNOWN]:
        name = sources[path].name
        shown = f"`{name}`" if name == path else f"`{name}`, renamed to `{path}`,"
        hint = did_you_mean(path, missing or expected) or f"`--rename '{name} -> none'` leaves it out"
        wrong.append(Diagnostic(codes.E702, f"{shown} is not a parameter of {model}", place=location, hint=hint))
    if len(unknown) > _MOST_UNKNOWN:
        message = f"{len(unknown) - _MOST_UNKNOWN} more entries are not parameters of {model}"
        wrong.append(Diagnostic(codes.E702, message, place=location))
    return wrong


def _of_a_framework(names: Collection[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in [*names][:_MOST_SHOWN]) + (", ..." if len(names) > _MOST_SHOWN else "")
    return f"{len(names)} entries have names of another framework: {shown}"


def _idle_rules(renamed: Renamed) -> str | None:
    """A message about rules that match no entry; None if each matches one."""
    rules = renamed.unused
    if not rules:
        return None
    shown = ", ".join(f"`{rule}`" for rule in rules[:_MOST_IDLE])
    more = f" and {len(rules) - _MOST_IDLE} more" if len(rules) > _MOST_IDLE else ""
    return f"{shown}{more} {'matches' if len(rules) == 1 else 'match'} no entry of the file"


def _idle_diagnostic(message: str, names: Sequence[str], location: str) -> Diagnostic:
    """A diagnostic for rules that match no entry, to be added to other errors."""
    hint = f"its entries are called {', '.join(f'`{name}`' for name in names[:3])}{', ...' if names[3:] else ''}"
    return Diagnostic(codes.E706, message, place=location, hint=hint if names else None)


def _misfit(
    path: str, array: Array, type: TensorType, location: str, entry: Entry, arrays: Mapping[str, Array]
) -> Diagnostic | None:
    """Why an array does not fit a parameter, if it does not."""
    fault = entry.split_fault(arrays)
    if fault is not None:
        return Diagnostic(codes.E706, fault, place=location, note=f"the rule is `{entry.rule}`")
    stored_type = _type_of(array)
    if array.shape != type.shape:
        hint = _axis_hint(array, type, entry) if entry.parts > 1 else _order_hint(path, type, entry, arrays)
        if entry.rule is None or arrays[entry.name].shape == array.shape:
            message, note = f"`{path}` is {stored_type} in the file, and {type} in the model", None
        else:
            message = f"`{path}` is {stored_type} by its rename rule, and {type} in the model"
            entries = ", ".join(f"`{name}` is {_type_of(arrays[name])}" for name in entry.names)
            note = f"the rule is `{entry.rule}`; in the file {entries}"
        return Diagnostic(codes.E703, message, place=location, note=note, hint=hint)
    dtype: Any = type.dtype.numpy
    try:
        same_kind = DType.of(array).kind == type.dtype.kind
    except TypeMismatch:  # a dtype that the language has not
        same_kind = array.dtype.kind in "iu" and type.dtype.is_integer
    if not same_kind or (type.dtype.is_integer and (array.astype(dtype) != array).any()):
        return Diagnostic(codes.E704, f"`{path}` is {stored_type} in the file, and {type} in the model", place=location)
    return _not_finite(path, array, type, location) if type.dtype.is_float else None


def _order_hint(path: str, type: TensorType, entry: Entry, arrays: Mapping[str, Array]) -> str | None:
    """A hint with a rule that turns an entry to the shape of a parameter, if there is one way to turn it."""
    shape = arrays[entry.name].shape
    if len(entry.names) > 1 or len(shape) != len(type.shape) or len(shape) < 2:
        return None
    name = f"{entry.name} -> {path}"
    if shape == type.shape:
        return f"leave it as it is by a rename rule before the others: `--rename '{name}'`"
    if (*shape[:-2], shape[-1], shape[-2]) == type.shape and shape[-1] != shape[-2]:
        return f"turn it by a rename rule before the others: `--rename '{name} ^T'`"
    if len(shape) > len(_USUAL_ORDERS[2]):
        return None
    orders = [order for order in permutations(range(len(shape))) if tuple(shape[axis] for axis in order) == type.shape]
    chosen = next((order for order in orders if order in _USUAL_ORDERS or len(orders) == 1), None)
    return f"turn it by a rename rule before the others: `--rename '{name} axes: {list(chosen)}'`" if chosen else None


def _axis_hint(array: Array, type: TensorType, entry: Entry) -> str | None:
    """A hint which axis to split, if the parts of an entry would fit along another axis than the rule's."""
    if array.ndim != len(type.shape) or not entry.layout.can_split(array):
        return None
    split = list(array.shape)
    split[entry.layout.axis] *= entry.parts
    for shape in (array.shape, tuple(split)):
        for axis, size in enumerate(shape):
            parts = (*shape[:axis], size // entry.parts, *shape[axis + 1 :])
            if size % entry.parts == 0 and parts == type.shape:
                return f"its parts are those of axis {axis}: end the rule with `axis: {axis}`"
    return None


def _not_finite(path: str, array: Array, type: TensorType, location: str) -> Diagnostic | None:
    """Why floats cannot be a parameter's: some are NaN, or overflow in its type."""
    wrong = np.isnan(array)
    if wrong.any():
        index = [int(axis) for axis in np.argwhere(wrong)[0]]
        message = f"`{path}` holds NaN: {int(wrong.sum()):,} of {array.size:,}, the first at {index}"
        hint = "training had diverged before it was saved: use an earlier checkpoint"
        return Diagnostic(codes.E704, message, place=location, hint=hint)
    with np.errstate(over="ignore"):
        wrong = np.isinf(array.astype(type.dtype.numpy)) & ~np.isinf(array)
    if wrong.any():
        index = [int(axis) for axis in np.argwhere(wrong)[0]]
        message = f"`{path}` holds {array[tuple(index)]:g} at {index}, beyond {type.dtype.value}"
        return Diagnostic(codes.E704, message, place=location, hint="run the model in a wider type: `--dtype f64`")
    return None


def _type_of(array: Array) -> str:
    try:
        return str(TensorType(DType.of(array), array.shape))
    except TypeMismatch:  # as above
        return f"{array.dtype}[{', '.join(map(str, array.shape))}]"


def _suggest(
    path: str,
    type: TensorType,
    unknown: Sequence[str],
    sources: Mapping[str, Entry],
    arrays: Mapping[str, Array],
) -> str | None:
    """A hint to an entry that may be the missing one: of a similar name, or the only one of its shape."""
    near = nearest(path, unknown)
    if near is not None:
        return f"is it called `{near}` there?"
    fitting = [name for name in unknown if arrays[sources[name].name].shape in (type.shape, type.shape[::-1])]
    if len(fitting) == 1:
        turned = " ^T" if arrays[sources[fitting[0]].name].shape != type.shape else ""
        return f"`{fitting[0]}` has its shape: `--rename '{sources[fitting[0]].name} -> {path}{turned}'`"
    return None

"""Checking the arrays that a caller feeds against a model's inputs and weights, for both backends."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.dims import PAST, Dim, Size, evaluate, symbols
from compiler.graph import Graph
from compiler.model_spec import SEED
from compiler.operators.leaves import Stored
from compiler.size_origins import SizeOrigin, size_origins
from compiler.types import DType, TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.conversion import CannotConvert, convert, kind_of, name_of
from runtime.foreign_arrays import from_torch
from runtime.size_limits import Limit, limits

if TYPE_CHECKING:
    from compiler.types import Array

_MOST_LISTED = 12


def random_keys(types: Mapping[str, object]) -> frozenset[str]:
    """The input that a model's random draws read, if it has one: an integer, which files mark by its name alone."""
    return frozenset({SEED} if types.get(SEED) == TensorType(DType.I64) else ())


class Signature:
    """The names and types of everything that a model is fed: its `inputs`, and its weights."""

    def __init__(
        self, name: str, types: Mapping[str, TensorType], inputs: Collection[str], graph: Graph | None = None
    ) -> None:
        self.name = name
        self.types = dict(types)
        self.inputs = tuple(inputs)
        self._graph = graph
        self._large_enough: set[tuple[tuple[str, int], ...]] = set()  # sizes that have passed the check

    @staticmethod
    def of(graph: Graph) -> Signature:
        """Inputs by label, then parameters and buffers by path."""
        types = {label: value.type for label, value in graph.inputs.items()}
        for node in graph:
            if isinstance(node.op, Stored):
                types[node.op.path] = node.op.type
        return Signature(graph.name, types, graph.inputs, graph)

    @cached_property
    def _open_axes(self) -> dict[str, tuple[tuple[int, Size, str | None], ...]]:
        """The axes of each array whose size is a dim, with the dim's name where the size is that dim alone."""
        axes: dict[str, tuple[tuple[int, Size, str | None], ...]] = {}
        for name, type in self.types.items():
            dims = [
                (axis, size, sorted(symbols(size))) for axis, size in enumerate(type.shape) if isinstance(size, Dim)
            ]
            axes[name] = tuple((axis, size, all[0] if size == Dim.named(all[0]) else None) for axis, size, all in dims)
        return axes

    @cached_property
    def _dtypes(self) -> dict[str, np.dtype[Any]]:
        return {name: type.dtype.numpy for name, type in self.types.items()}

    @cached_property
    def _origins(self) -> dict[str, SizeOrigin]:
        return size_origins(self.types)

    def check(self, feeds: Mapping[str, Any], checked: Collection[str] = ()) -> tuple[dict[str, Array], dict[str, int]]:
        """The arrays to feed and the size of every named dim; NablacError lists all mistakes.

        Names in `checked` may be absent: they have been checked before.
        """
        wrong: list[Diagnostic] = []
        arrays: dict[str, Array] = {}
        for name, argument in feeds.items():
            type = self.types.get(name)
            if type is None:
                wrong.append(self._unknown(name, feeds))
                continue
            try:
                array = argument
                if array.__class__ is not np.ndarray or array.dtype != self._dtypes[name]:
                    array = _convert(name, argument, type)
                if array.shape != type.shape:
                    self._check_shape(name, array, type)
                arrays[name] = array
            except NablacError as error:
                wrong.extend(error.diagnostics)
        missing = [name for name in self.types if name not in feeds and name not in checked]
        if missing:
            wrong.extend(self._missing(missing, feeds))
        sizes = self._sizes(arrays, wrong)
        if not wrong:
            wrong.extend(self._too_small_sizes(sizes))
        if wrong:
            raise NablacError(*wrong)
        return arrays, sizes

    def not_by_name(self, count: int) -> NablacError:
        """The error for arrays that a call passes without names."""
        names = ", ".join(f"{name}={name}" for name in self.inputs if name != SEED)
        message = f"{self.name} takes its inputs by name, and the call has {count} without one"
        return NablacError(Diagnostic(codes.E801, message, place="the call", hint=f"`model({names})`"))

    @cached_property
    def _limits(self) -> tuple[Limit, ...]:
        return limits(self._graph) if self._graph is not None else ()

    def _too_small_sizes(self, sizes: Mapping[str, int]) -> Iterator[Diagnostic]:
        """The first limit that the sizes violate, if any: a window that does not fit in its image, say."""
        combination = tuple(sizes.items())
        if combination in self._large_enough:
            return
        for limit in self._limits:
            if not limit.holds(sizes):
                reason, name = limit.explain(sizes)
                source, origin = self._origins[name].source, limit.node.origin
                where = " ".join(str(part) for part in (origin.span, origin.path and f"(`{origin.path}`)") if part)
                message = f"`{source}` is too small: {reason}"
                yield Diagnostic(codes.E803, message, place=f"input `{source}`", note=where and f"required at {where}")
                return
        self._large_enough.add(combination)

    def _check_shape(self, name: str, array: Array, type: TensorType) -> None:
        """Check the rank and the sizes that are numbers, and that named dims are at least 1."""
        if array.ndim != type.rank:
            message = _expected(name, type, array)
            shown, hint = f"it has {_axes(array.ndim)}; the model expects {type.rank}", None
            if array.ndim == type.rank - 1:
                hint = _missing_axis(name, array.shape, type.shape)
            raise NablacError(Diagnostic(codes.E803, message, place=f"input `{name}`", note=shown, hint=hint))
        for axis, (size, actual) in enumerate(zip(type.shape, array.shape, strict=True)):
            if isinstance(size, int) and size != actual:
                shown = f"axis {axis} is {actual}; the model expects {size}"
                message = _expected(name, type, array)
                raise NablacError(Diagnostic(codes.E803, message, place=f"input `{name}`", note=shown))
            if actual == 0 and size != 0 and str(size) != PAST:
                message = f"`{name}` is empty: axis {axis}, `{size}`, is 0"
                hint = "named dims are at least 1"
                raise NablacError(Diagnostic(codes.E803, message, place=f"input `{name}`", hint=hint))

    def _sizes(self, arrays: Mapping[str, Array], wrong: list[Diagnostic]) -> dict[str, int]:
        """The size of every named dim, from the axis that determines it; all other axes are checked against these."""
        sizes: dict[str, int] = {}
        for symbol, origin in self._origins.items():
            array = arrays.get(origin.source)
            if array is None:
                continue
            if origin.factor == 1 and origin.rest == 0:
                sizes[symbol] = array.shape[origin.axis]
                continue
            if not _is_known(origin.rest, sizes):
                continue
            share = array.shape[origin.axis] - evaluate(origin.rest, sizes)
            if share % origin.factor or share < origin.factor:
                source, axis = origin.source, origin.axis
                size = self.types[source].shape[axis]
                message = (
                    f"axis {axis} of `{source}` is {array.shape[axis]}, and no `{symbol}` makes `{size}` that size"
                )
                wrong.append(Diagnostic(codes.E803, message, place=f"input `{source}`"))
                continue
            sizes[symbol] = share // origin.factor
        for name, array in arrays.items():
            for axis, size, alone in self._open_axes[name]:
                actual = array.shape[axis]
                if alone is not None and sizes.get(alone, actual) == actual:
                    continue
                if not _is_known(size, sizes) or evaluate(size, sizes) == actual:
                    continue
                wrong.append(self._conflict(name, axis, size, actual, sizes))
        return sizes

    def _conflict(self, name: str, axis: int, size: Size, actual: int, sizes: Mapping[str, int]) -> Diagnostic:
        names = sorted(symbols(size))
        origins = {symbol: self._origins[symbol] for symbol in names}
        if size == Dim.named(names[0]):
            origin = origins[names[0]]
            message = f"`{size}` is {sizes[names[0]]} in `{origin.source}` and {actual} in `{name}`"
        else:
            because = " and ".join(f"`{symbol}` is {sizes[symbol]} in `{origins[symbol].source}`" for symbol in names)
            expected = evaluate(size, sizes)
            message = f"axis {axis} of `{name}`, `{size}`, is {actual}, and should be {expected}: {because}"
        involved = {name, *(origin.source for origin in origins.values())}
        shown = "\n".join(f"`{label}` is {self.types[label]}" for label in self.types if label in involved)
        return Diagnostic(codes.E805, message, place=f"input `{name}`", note=shown)

    def _unknown(self, name: str, feeds: Mapping[str, Any]) -> Diagnostic:
        open_names = [known_name for known_name in self.types if known_name not in feeds]
        hint = did_you_mean(name, open_names or self.types)
        if hint is None:
            shown = ", ".join(f"`{input_name}`" for input_name in self.inputs[:_MOST_LISTED])
            hint = f"its inputs are {shown}" if shown else "it has no inputs"
        return Diagnostic(codes.E802, f"{self.name} has no input `{name}`", place=f"input `{name}`", hint=hint)

    def _missing(self, missing: list[str], feeds: Mapping[str, Any]) -> list[Diagnostic]:
        """A diagnostic for each missing input, and one for all missing weights."""
        unknown = [name for name in feeds if name not in self.types]
        diagnostics = [
            Diagnostic(
                codes.E801,
                f"input `{name}` is missing",
                place=f"input `{name}`",
                note=f"it is {self.types[name]}",
                hint=did_you_mean(name, unknown) and f"`{name}` is the model's name for it",
            )
            for name in missing
            if name in self.inputs
        ]
        weights = [name for name in missing if name not in self.inputs]
        if weights:
            listed = ", ".join(f"`{name}`" for name in weights[:_MOST_LISTED])
            more = f" and {len(weights) - _MOST_LISTED} more" if len(weights) > _MOST_LISTED else ""
            verb = "is" if len(weights) == 1 else "are"
            location, hint = f"the weights of {self.name}", "load weights, or initialize them from a seed"
            diagnostics.append(Diagnostic(codes.E801, f"{listed}{more} {verb} missing", place=location, hint=hint))
        return diagnostics


def _expected(name: str, type: TensorType, array: Array) -> str:
    return f"`{name}`: expected {type}, got an array of shape {list(array.shape)}"


def _convert(name: str, argument: Any, type: TensorType) -> Array:
    """An array of the input's dtype: from an array of the same kind that keeps its values, or from Python numbers."""
    dtype = type.dtype.numpy
    try:
        array = np.asarray(from_torch(argument))
    except Exception as error:  # an object's own conversion may raise anything
        rows = isinstance(argument, (list, tuple))
        reason = "its rows have different lengths" if rows else f"{argument.__class__.__name__}: {error}"
        message = f"`{name}`: expected {type}, got an argument that is not an array"
        raise NablacError(Diagnostic(codes.E803, message, place=f"input `{name}`", note=reason)) from None
    if array.dtype == dtype:
        return array
    check_same_kind(name, argument, array, type)
    try:
        return convert(array, dtype)
    except CannotConvert as error:
        message, note = f"`{name}` is {type}, and {error.reason}", f"at index {list(error.index or ())}"
        raise NablacError(Diagnostic(codes.E804, message, place=f"input `{name}`", note=note)) from None


def check_same_kind(name: str, argument: Any, array: Array, type: TensorType) -> None:
    """NablacError for an argument, read as `array`, of another kind than the input: integers for floats, say.

    Numbers in lists have no dtype, and integers there count as floats.
    """
    kind, expected_kind = kind_of(array.dtype), type.dtype.kind
    if kind == expected_kind:
        return
    plain = isinstance(argument, (list, tuple, int, float)) and _is_plain(argument)
    if plain and ((kind, expected_kind) == ("int", "float") or not array.size):
        return
    hint = f"convert it: `array.astype({type.dtype.numpy.name!r})`" if kind else None
    if kind is None:
        hint = "a tensor holds numbers; turn texts into tokens first" if array.dtype.kind in "US" else None
    message = f"`{name}`: expected {type}, got {name_of(array.dtype)}"
    raise NablacError(Diagnostic(codes.E804, message, place=f"input `{name}`", hint=hint))


def _is_plain(argument: Any) -> bool:
    """Whether an argument is Python numbers, however nested: they have no dtype of their own."""
    waiting = [argument]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (list, tuple)):
            waiting.extend(item)
        elif not isinstance(item, (int, float)) or isinstance(item, np.generic):
            return False
    return True


def _is_known(size: Size, sizes: Mapping[str, int]) -> bool:
    return isinstance(size, int) or symbols(size) <= sizes.keys()


def _missing_axis(name: str, shape: tuple[int, ...], expected: tuple[Size, ...]) -> str | None:
    """A hint at the first axis of size 1 with which the shape agrees with what is wanted; None if there is none."""
    last = len(shape)
    for axis, size in enumerate(expected):
        whole = (*shape[:axis], 1, *shape[axis:])
        if all(isinstance(other, Dim) or other == actual for other, actual in zip(expected, whole, strict=True)):
            index = "..., None" if 0 < axis == last else ", ".join([":"] * axis + ["None"])
            what = f"the axis `{size}`" if isinstance(size, Dim) else f"axis {axis}, of size 1,"
            return f"where {what} is missing: `{name}[{index}]`"
    return None


def _axes(number: int) -> str:
    return "1 axis" if number == 1 else f"{number or 'no'} axes"

"""Converts arguments from Python: dtypes by nablac's or NumPy's names, numbers and lists, arrays by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from compiler.lazy import LazyModule
from compiler.model_spec import SEED, WEIGHTS
from compiler.types import DType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.foreign_arrays import from_torch

if TYPE_CHECKING:
    import numpy as np

    from compiler.model_spec import ModelSpec
    from compiler.types import TensorType
else:
    np = LazyModule("numpy")


def float_type(dtype: Any) -> DType:
    """The float type with this name, or of this NumPy dtype; NablacError for anything else."""
    try:
        name = dtype if isinstance(dtype, str) else str(np.dtype(dtype))
    except TypeError:
        name = type(dtype).__name__
    floats = [member for member in DType if member.is_float]
    by_numpy_name = {member.numpy.name: member for member in floats} if name not in set(DType) else {}
    own_name = by_numpy_name.get(name, name)
    if own_name not in set(floats):
        message = f"`{name}` is not a float type" if own_name in set(DType) else f"unknown dtype `{name}`"
        hint = f"the float types are {', '.join(f'`{member}`' for member in floats)}"
        raise NablacError(Diagnostic(codes.E211, message, place="dtype", hint=hint))
    return DType(own_name)


def wrong_kind(argument: str, expected: str, value: Any) -> NablacError:
    """The error for an argument of another kind than is expected."""
    message = f"`{argument}` must be {expected}, got {_described(value)}"
    return NablacError(Diagnostic(codes.E605, message, place=argument))


def check_path(value: Any, argument: str, what: str = "the name of a file") -> None:
    """NablacError for anything that names no file."""
    if not isinstance(value, (str, PathLike)):
        raise wrong_kind(argument, what, value)


def patterns_of(wrt: Any) -> list[str]:
    """The patterns of an argument, one or several; NablacError for anything else."""
    patterns = [wrt] if isinstance(wrt, str) else list(wrt) if isinstance(wrt, Iterable) else [wrt]
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise wrong_kind("wrt", "a pattern of names, or a list of them", wrt)
    return patterns


def plain(value: Any) -> Any:
    """The value with NumPy's numbers and arrays converted to Python's, and tuples to lists."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def arrays_of(data: Any, model: ModelSpec, method: str) -> dict[str, Any]:
    """The arrays by name, of a mapping or a data frame, for the training or the evaluation of a model.

    NablacError for anything else, for a value that is not an array, and for integers or flags as a float input.
    """
    if not isinstance(data, Mapping) and hasattr(data, "columns") and hasattr(data, "__getitem__"):
        data = {name: data[name] for name in data.columns}
    if not isinstance(data, Mapping) or not all(isinstance(name, str) for name in data):
        raise not_by_name(_described(data), method, model, isinstance(data, str))
    arrays = {}
    for name, value in data.items():
        try:
            arrays[name] = np.asarray(from_torch(value))
        except (ValueError, TypeError, RuntimeError) as error:  # rows of different lengths, a tensor without dense form
            raise NablacError(Diagnostic(codes.E823, f"`{name}` is not an array: {error}", place="data")) from None
    _check_kinds(data, arrays, model)
    return arrays


def not_by_name(what: str, method: str, model: ModelSpec, is_file: bool = False) -> NablacError:
    """The error for data of a `method` that is not arrays by name, but `what`."""
    message = f"expected a dict of arrays by input and target name, got {what}"
    hint = "`nablac train --data FILE` reads files" if is_file else call_by_name(method, model)
    return NablacError(Diagnostic(codes.E823, message, place="data", hint=hint))


def call_by_name(method: str, model: ModelSpec) -> str:
    """A call of a method with the names of the model's inputs and targets."""
    entries = ", ".join(f'"{name}": {name}' for name in _names_of(model))
    return f"`{method}({{{entries}}})`"


def _names_of(model: ModelSpec) -> list[str]:
    """The names of the arrays that a training takes: its inputs, and its targets if it has a train block."""
    targets = model.training.targets if model.training is not None else ()
    return [*(name for name in model.graph.inputs if name != SEED), *targets]


def _described(data: Any) -> str:
    """What an argument is, in a few words: never the numbers of an array."""
    if data is None or isinstance(data, (str, int, float)):
        return f"{data!r:.80}"
    if isinstance(data, Mapping):
        return f"a dict with the key {next(key for key in data if not isinstance(key, str))!r:.40}"
    shape = getattr(data, "shape", None)
    if shape is not None:
        return f"an array of shape {list(shape)}"
    if isinstance(data, (list, tuple)):
        return f"a {type(data).__name__} of {len(data)}"
    return f"an object of type {type(data).__name__}"


def _check_kinds(data: Mapping[str, Any], arrays: Mapping[str, Any], model: ModelSpec) -> None:
    """NablacError for integers or flags as a float input, as in a call: they may be pixels, not scaled."""
    known = _names_of(model)
    weights = (
        [stage.arguments["column"] for stage in model.training.data if stage.name == WEIGHTS] if model.training else []
    )
    waiting = [name for name in known if name not in arrays]
    spare = [name for name in arrays if name not in known and name not in weights]
    renamed = (
        dict(zip(waiting, spare, strict=True)) if len(waiting) == len(spare) == 1 else {}
    )  # as `assign` reads them
    check_float_inputs({name: value.type for name, value in model.graph.inputs.items()}, data, arrays, renamed)


def check_float_inputs(
    types: Mapping[str, TensorType],
    data: Mapping[str, Any],
    arrays: Mapping[str, Any],
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """NablacError for integers or flags, but for those of lists, as a float input; `arrays` are those of `data`."""
    from runtime.conversion import kind_of
    from runtime.signature import check_same_kind

    for name, type in types.items():
        source = renamed.get(name, name)
        if source in arrays and type.dtype.is_float and kind_of(arrays[source].dtype) in ("int", "bool"):
            check_same_kind(source, data[source], arrays[source], type)

"""Predictions for arrays: `.npy`, `.npz`, and the files of digits that a model was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compiler.model_spec import DataStage
from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Source, Span
from runtime.boundary import read_file
from runtime.data.arrays import no_examples
from runtime.data.context import Context
from runtime.data.digits import digits
from runtime.data.examples import Examples
from runtime.numpy_files import read_npy, read_npz
from runtime.prediction.answers import Answers
from runtime.prediction.predictor import Predictor
from runtime.prediction.table_rows import Columns

if TYPE_CHECKING:
    from compiler.types import Array


def is_arrays(path: str) -> bool:
    """Whether a name is one of a file of arrays."""
    return Path(path).suffix.lower() in (".npy", ".npz")


def arrays_in(path: str, predictor: Predictor) -> dict[str, Array]:
    """The arrays of a file by name; a `.npy` has the one of a model's only input."""
    file = Path(path)
    if file.suffix.lower() == ".npz":
        return read_npz(file, path, codes.E807)
    if len(predictor.types) != 1:
        names = ", ".join(f"`{name}`" for name in predictor.types)
        message = f"the model takes {names}, and a .npy file holds one array"
        raise NablacError(Diagnostic(codes.E801, message, place=path, hint="write a .npz with an array of each name"))
    return {next(iter(predictor.types)): read_npy(read_file(file), path, codes.E807)}


def digits_in(path: str, predictor: Predictor) -> dict[str, Array]:
    """The images of a file of digits as the training has read them, with their labels."""
    source = predictor.recipe.source
    assert source is not None
    nowhere = Span(Source(path, ""), 0, 0)
    stage = DataStage("digits", {"labels": "", **source.arguments, "path": str(Path(path).absolute())}, nowhere)
    return {name: array[:] for name, array in digits(stage, Context(Path.cwd())).arrays.items()}


def predict_arrays(predictor: Predictor, arrays: Mapping[str, Array], path: str, answers: Answers) -> Iterator[Columns]:
    """Results for some examples at a time, beside the arrays of one number for each that no input takes."""
    named = {name: _for_input(name, type, arrays, predictor, path) for name, type in predictor.types.items()}
    inputs = {name: arrays[source] for name, source in named.items()}
    counts = {len(array) if array.ndim else 0 for array in inputs.values()}
    if len(counts) != 1 or counts == {0}:
        raise no_examples({name: array.shape for name, array in inputs.items()}, path)
    (count,) = counts
    beside = {
        name: array
        for name, array in arrays.items()
        if name not in named.values() and array.shape == (count,) and array.dtype.kind in "iufUSb"
    }
    batch = predictor.batch({name: array.shape[1:] for name, array in inputs.items()})
    for start in range(0, count, batch):
        rows = slice(start, start + batch)
        examples = Examples({}, path=path)
        feeds = {name: predictor.feed(name, array[rows], examples) for name, array in inputs.items()}
        predictions = answers.columns(predictor.run(feeds), len(range(count)[rows]))
        row_numbers: Columns = {} if beside else {"row": np.arange(count)[rows] + 1}
        kept = {name: array[rows] for name, array in beside.items() if name not in predictions}
        yield {**row_numbers, **kept, **predictions}


def _for_input(name: str, type: TensorType, arrays: Mapping[str, Array], predictor: Predictor, path: str) -> str:
    """The array for an input: the one of its name, else for a model's only input the one that fits."""
    if name in arrays:
        return name
    sizes = [size for size in type.shape[1:] if isinstance(size, int)]
    fixed = len(sizes) == type.rank - 1
    fitting = [
        other
        for other, array in arrays.items()
        if len(predictor.types) == 1
        and array.ndim
        and (np.prod(array.shape[1:]) == np.prod(sizes) if fixed else array.ndim == type.rank)
        and not (array.ndim == 1 and type.rank > 2)
    ]
    if len(fitting) != 1:
        listed = ", ".join(f"`{other}` {array.dtype}{list(array.shape)}" for other, array in arrays.items())
        message = f"the model needs `{name}`: {type}, and there is {listed or 'nothing'}"
        raise NablacError(Diagnostic(codes.E801, message, place=path, hint="name the arrays after the model's inputs"))
    return fitting[0]

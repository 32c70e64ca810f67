"""Texts as the input of a model of tokens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from compiler.dims import Dim
from compiler.types import TensorType
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.padding import Padding
from runtime.input_files import PLAIN, STDIN, TEXT_FILES, FileKind, InputType, Reading, fit_to_type, read_file_arrays
from runtime.text.coding import TextLimit, tokens_of
from runtime.text.roles import whole
from runtime.text.tokenizers import PADDING, Tokenizer

if TYPE_CHECKING:
    from compiler.types import Array


_MIXED_AT_ONCE = 128  # texts of different lengths in a batch


@dataclass(frozen=True, eq=False)
class InputBatches:
    """The inputs in one batch, or in several, each with the numbers of its rows."""

    batches: list[tuple[list[int], dict[str, Array]]]

    def run(self, model: Callable[[dict[str, Array]], dict[str, Array]]) -> dict[str, Array]:
        """The outputs of all rows, in order; outputs for each token are padded with 0 after shorter texts.

        A text shares no batch with a longer one where its outputs would depend on the padding.
        """
        if len(self.batches) == 1:
            return model(self.batches[0][1])
        outputs = [(rows, model(feeds)) for rows, feeds in self.batches]
        return {name: _join(name, [(rows, results[name]) for rows, results in outputs]) for name in outputs[0][1]}


def _join(name: str, parts: list[tuple[list[int], Array]]) -> Array:
    """One output of several batches, with its rows in the order of the texts."""
    if any(part.ndim == 0 or len(part) != len(rows) or part.ndim != parts[0][1].ndim for rows, part in parts):
        message = f"`{name}` is one result of all texts, and these have different lengths"
        hint = "run them one at a time, or only texts with equally many tokens"
        raise NablacError(Diagnostic(codes.E848, message, place=f"output `{name}`", hint=hint))
    shape = [max(sizes) for sizes in zip(*(part.shape[1:] for _, part in parts), strict=True)]
    whole = np.zeros((sum(len(rows) for rows, _ in parts), *shape), parts[0][1].dtype)
    for rows, part in parts:
        where: Any = (rows, *(slice(size) for size in part.shape[1:]))
        whole[where] = part
    return whole


def read_texts_or_inputs(
    arguments: list[str],
    types: Mapping[str, InputType],
    tokenizer: Tokenizer | None,
    longest: Mapping[str, int] | None = None,
    reading: Reading = PLAIN,
    least: Mapping[str, int] | None = None,
    unread: Callable[[], Collection[str]] = tuple,
) -> InputBatches:
    """Texts, one per argument, as rows of tokens, if the model has a tokenizer and one input of tokens; else files.

    `longest` is the maximal length of a text for each input (see runtime.text.lengths), `least` the minimal number of
    tokens: shorter texts are padded, as are those of an input of a fixed size. `unread` finds the inputs whose padding
    the model does not read, where there are several texts.
    """
    required = [name for name in types if name not in reading.optional]
    tokens = {name: type for name, type in types.items() if name in required and _of_tokens(type)}
    texts = [_text(argument, required) for argument in arguments]
    if tokens and tokenizer is not None and len(required) == 1 and None in texts and any(texts):
        message = f"this names a file, and `{_shorten(next(filter(None, texts)))}` beside it is a text"
        hint = "run the texts alone; `nablac predict` reads those of a file"
        raise NablacError(Diagnostic(codes.E807, message, place=arguments[texts.index(None)], hint=hint))
    if not tokens or not texts or None in texts:
        return _files(arguments, types, reading, least or {}, unread)
    if tokenizer is None and any(Path(text or "").suffix and len((text or "").split()) == 1 for text in texts):
        return _files(arguments, types, reading, least or {}, unread)  # its error lists the kinds of files
    if len(required) > 1:
        named = ", ".join(f"`{name}`" for name in required)
        hint = "`nablac generate` turns text into text; otherwise pass tokens for each input: `name=tokens.npy`"
        raise NablacError(
            Diagnostic(codes.E807, f"text alone does not provide {named}", place=_shorten(arguments[0]), hint=hint)
        )
    if tokenizer is None:
        message, hint = "there is no tokenizer for this text", "pass `--tokenizer FILE`"
        raise NablacError(Diagnostic(codes.E853, message, place=_shorten(arguments[0]), hint=hint))
    ((name, type),) = tokens.items()
    fixed = type.shape[1]
    most = (longest or {}).get(name) if isinstance(fixed, Dim) else fixed
    rows = [
        tokens_of(tokenizer, text or "", whole, f"text {number}", TextLimit(f"`{name}`", most))
        for number, text in enumerate(texts, 1)
    ]
    padding = tokenizer.padding or PADDING
    return token_batches(rows, name, type, padding, (least or {}).get(name, 1), unread() if len(rows) > 1 else ())


def _files(
    arguments: list[str],
    types: Mapping[str, InputType],
    reading: Reading,
    least: Mapping[str, int],
    unread: Callable[[], Collection[str]],
) -> InputBatches:
    held = read_file_arrays(arguments, types, reading)
    arrays = {name: fit_to_type(part, types[name]) for name, part in held.items()}
    padding = {name: part.padding for name, part in held.items() if part.padding is not None}
    counts = {len(array) for array in arrays.values()}
    if padding and len(counts) > 1:
        listed = ", ".join(f"`{name}` {len(array):,}" for name, array in arrays.items())
        message = f"inputs must have the same number of rows: {listed}"
        raise NablacError(Diagnostic(codes.E804, message, place=_shorten(arguments[0])))
    return width_batches(arrays, padding, types, least, unread() if padding and counts != {1} else ())


def width_batches(
    arrays: Mapping[str, Array],
    padding: Mapping[str, int],
    types: Mapping[str, InputType],
    least: Mapping[str, int],
    unread: Collection[str] = (),
) -> InputBatches:
    """Inputs of as many rows each, of which those with a `padding` token are rows of tokens.

    Rows of equal lengths share a batch, and those of any length where the padding of an input is `unread`. Rows of
    tokens are as wide as an input of a fixed width, or `least` tokens, and inputs of the same dim are of one width.
    """
    if not padding:
        return InputBatches([([], dict(arrays))])
    widths = {name: type.shape[1] for name, type in types.items() if name in padding and _of_tokens(type)}
    fixed = {name: width for name, width in widths.items() if not isinstance(width, Dim)}
    dims = {name: str(width) for name, width in widths.items() if name not in fixed}
    axes = {name: dims.get(name, f"{name} ") for name in padding}  # no dim has a space in its name
    of_dims: dict[str, int] = {}
    for name, dim in axes.items():
        of_dims[dim] = max(of_dims.get(dim, 1), fixed.get(name, least.get(name, 1)))
    rows = Padding(axes, of_dims, tokens=padding)
    lengths = {dim: np.maximum(each, of_dims[dim]) for dim, each in rows.lengths(arrays).items()}
    apart = [lengths[dim] for dim in lengths if not all(name in unread for name in axes if axes[name] == dim)]
    groups: dict[tuple[int, ...], list[int]] = {}
    for number in range(len(next(iter(arrays.values())))):
        groups.setdefault(tuple(int(each[number]) for each in apart), []).append(number)
    batches: list[tuple[list[int], dict[str, Array]]] = []
    total = np.sum(list(lengths.values()), axis=0)
    for numbers in groups.values():
        if len(numbers) > _MIXED_AT_ONCE:
            numbers.sort(key=total.__getitem__)  # so that little of a batch is padding
        for start in range(0, len(numbers), _MIXED_AT_ONCE if unread else len(numbers)):
            part = numbers[start : start + _MIXED_AT_ONCE] if unread else numbers
            batches.append((part, rows.trim({name: array[part] for name, array in arrays.items()})))
    return InputBatches(batches)


def token_batches(
    rows: list[list[int]], name: str, type: TensorType, padding: int, least: int, unread: Collection[str] = ()
) -> InputBatches:
    """Rows of tokens for the input `name`: those of one width share a batch, or of any where padding is `unread`.

    They are filled up where the input has a fixed width, or takes `least` tokens at the fewest.
    """
    fixed = type.shape[1]
    widths = [fixed if not isinstance(fixed, Dim) else max(len(row), least) for row in rows]
    if name in unread:
        order = list(range(len(rows)))
        if len(rows) > _MIXED_AT_ONCE:
            order.sort(key=widths.__getitem__)  # so that little of a batch is padding
        groups = [order[start : start + _MIXED_AT_ONCE] for start in range(0, len(order), _MIXED_AT_ONCE)]
    else:
        groups = [[number for number, other in enumerate(widths) if other == width] for width in dict.fromkeys(widths)]
    batches = []
    for numbers in groups:
        widest = max(widths[number] for number in numbers)
        filled = [[*rows[number], *[padding] * (widest - len(rows[number]))] for number in numbers]
        batches.append((numbers, {name: np.array(filled, type.dtype.numpy)}))
    return InputBatches(batches)


def _text(argument: str, names: list[str]) -> str | None:
    """The text in an argument, without `name=`; None for an argument that names a file, existing or not."""
    name, sign, rest = argument.partition("=")
    text = rest if sign and name in names else argument
    path = text.split(":")[0]
    try:
        if text == STDIN or Path(text).is_file() or Path(path).is_file():
            return None
    except (OSError, ValueError):  # too long for a file name, or with a null byte
        return text
    suffix = Path(path).suffix
    names_file = FileKind.of_suffix(suffix) is not None or suffix.lower() in TEXT_FILES
    return None if names_file and len(path.split()) == 1 else text


def _of_tokens(type: InputType) -> TypeGuard[TensorType]:
    return isinstance(type, TensorType) and type.dtype.is_integer and type.rank == 2


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."

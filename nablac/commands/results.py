"""Outputs of a model: formatted for people, or written to a file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nablac.commands.output import json_text, note
from runtime.atomic_files import is_stream, write_bytes

if TYPE_CHECKING:
    from compiler.types import Array

MOST_SHOWN = 64  # numbers; of a larger output only the first are printed
MOST_ROWS = 8  # of class scores; of more rows the best classes are not listed
ENDINGS = (".npy", ".npz", ".csv", ".json")
STDOUT = "-"


def format_output(name: str, array: Array, classes: Sequence[str] = ()) -> str:
    """An output as text: its shape, then its numbers, or the first of them and their range.

    For class scores, the best classes of each row, by name if `classes` are known and else by index.
    """
    import numpy as np

    head = f"{name}: {array.dtype}{list(array.shape)}"
    if array.size == 1:
        return f"{name}: {_number(array.reshape(-1)[0])}"
    if are_scores(name, array, classes) and len(array) <= MOST_ROWS:
        lines = [head, f"  highest of each row, as {'class' if classes else 'index'}: value"]
        for number, row in enumerate(array):
            best = np.argsort(row, kind="stable")[::-1][:5]
            scores = (f"{classes[index] if classes else index}: {row[index]:.4g}" for index in best)
            lines.append(f"  [{number}] " + "  ".join(scores))
        return "\n".join(lines)
    if array.size <= MOST_SHOWN:
        text = np.array2string(array, precision=6, suppress_small=True, separator=" ")
        return head + "\n  " + text.replace("\n", "\n  ")
    flat = array.reshape(-1)
    first = " ".join(map(_number, flat[:8]))
    if array.dtype.kind not in "iuf":
        return f"{head}\n  {first} ..."
    return f"{head}\n  {first} ...\n  from {flat.min():.6g} to {flat.max():.6g}, mean {flat.mean():.6g}"


def are_scores(name: str, array: Array, classes: Sequence[str] = ()) -> bool:
    """Whether rows are class scores: as many as there are `classes`, or named logits, or probabilities."""
    import numpy as np

    if array.ndim != 2 or array.dtype.kind != "f" or not 2 <= array.shape[1] <= 1000:
        return False
    if classes:
        return bool(array.shape[1] == len(classes))
    probabilities = bool((array >= 0).all() and np.allclose(array.sum(axis=1, dtype=np.float64), 1, atol=1e-3))
    return bool("logit" in name.lower() or probabilities)


def _number(value: object) -> str:
    import numpy as np

    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)


def check_ending(output: Path | None) -> None:
    """UsageError for a file whose suffix is not a result format."""
    if output is None or str(output) == STDOUT or is_stream(output) or output.suffix in ENDINGS:
        return
    raise click.UsageError(f"`{output.suffix or output}` is not a result format; the formats are {', '.join(ENDINGS)}")


def write(path: Path, results: dict[str, Array]) -> None:
    """Write results in the form that the ending names; standard output and pipes get .npy, or .npz of several.

    Notes the outputs that the format cannot hold.
    """
    stream = str(path) == STDOUT or is_stream(path)
    ending = (".npy" if len(results) == 1 else ".npz") if stream else path.suffix
    content, left_out = _encoded(ending, results)
    if left_out:
        names = ", ".join(f"`{name}`" for name in left_out)
        note(f"warning: {path} does not contain {names}; a .npz or .json file contains all outputs")
    if str(path) == STDOUT:
        from nablac.commands.streams import write_output

        write_output(content)
    else:
        write_bytes(path, content)


def _encoded(ending: str, results: dict[str, Array]) -> tuple[bytes, list[str]]:
    """The bytes of a file, and the names of the outputs that are not in it."""
    import numpy as np

    buffer = io.BytesIO()
    name, *others = results
    if ending == ".npy":
        np.save(buffer, storable(results[name]))
        return buffer.getvalue(), others
    if ending == ".npz":
        np.savez(buffer, **{key: storable(array) for key, array in results.items()})  # type: ignore[arg-type]
        return buffer.getvalue(), []
    if ending == ".json":
        return json_text({key: array.tolist() for key, array in results.items()}, None).encode(), []
    return _csv(results)


def storable(array: Array) -> Array:
    """The array in a dtype that files and NumPy support: bf16, which they do not, is exact in f32."""
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _csv(results: dict[str, Array]) -> tuple[bytes, list[str]]:
    """Outputs side by side under a header: the last axis along columns, all others along rows.

    If several axes run along rows, the first columns hold the indices of each row. Outputs whose rows differ from those
    of the first are left out.
    """
    import csv

    import numpy as np

    rows: tuple[int, ...] = ()
    header: list[str] = []
    columns: list[Array] = []
    left_out: list[str] = []
    for name, array in results.items():
        if array.ndim < 2:  # one number, or one per row
            array = array.reshape(-1, 1)
        if not columns:
            rows = array.shape[:-1]
        elif array.shape[:-1] != rows:
            left_out.append(name)
            continue
        table = array.reshape(-1, array.shape[-1])
        header += [name] if table.shape[1] == 1 else [f"{name}_{column}" for column in range(table.shape[1])]
        columns.append(table)
    row_axes = [axis for axis, size in enumerate(rows) if size > 1]
    indices = np.indices(rows).reshape(len(rows), -1)
    if len(row_axes) > 1:
        header = [*(f"axis_{axis}" for axis in row_axes), *header]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for number in range(len(columns[0])):
        row_indices = [int(indices[axis, number]) for axis in row_axes] if len(row_axes) > 1 else []
        cells = [_cell(value) for table in columns for value in table[number].tolist()]
        writer.writerow([*row_indices, *cells])
    return text.getvalue().encode(), left_out


def _cell(value: object) -> object:
    return f"{value:.9g}" if isinstance(value, float) else value

"""`nablac run`: a model on real input."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablac.commands.options import compiled, model_options, output_options, run_options, weight_options
from nablac.commands.output import note, print_json

if TYPE_CHECKING:
    from compiler.types import Array, TensorType
    from runtime.text.tokenizers import Tokenizer

MOST_SHOWN = 64  # numbers of one output that are printed
ONNX_TYPES = {
    "float": "f32",
    "double": "f64",
    "float16": "f16",
    "int64": "i64",
    "int32": "i32",
    "int8": "i8",
    "uint8": "u8",
    "bool": "bool",
}


@click.command()
@model_options
@click.argument("inputs", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write results: .npy, .npz, .csv or .json.")
@click.option(
    "--tokenizer", type=click.Path(path_type=Path), metavar="FILE", help="For texts: tokenizer.json, vocab.txt."
)
@run_options
@weight_options
@output_options
def command(
    file: Path,
    name: str | None,
    preset: str | None,
    settings: tuple[str, ...],
    dtype: str,
    inputs: tuple[str, ...],
    output: Path | None,
    tokenizer: Path | None,
    backend: str,
    device: str,
    weights: Path | None,
    rename: tuple[str, ...],
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run a .model or .onnx FILE on INPUTS: `name=path`, or a path alone where the model has one input.

    Inputs are .npy, .npz, .csv (`data.csv:column`, `data.csv:column[-12:]`), .json or images. A missing batch axis is
    added. A model of tokens that has its tokenizer inside, or is given one, takes texts.
    """
    if device == "cuda" and backend == "numpy" and file.suffix != ".onnx":
        raise click.UsageError("the NumPy runtime has no device but the CPU; add `--backend ort`")
    _check_ending(output)
    if file.suffix == ".onnx":
        results = _run_onnx(file, inputs, device, seed, tokenizer)
    else:
        from runtime.text.feeding import read_texts_or_inputs
        from runtime.text.places import places

        model = compiled(
            file,
            name,
            preset,
            settings,
            dtype,
            weights=weights,
            rename=rename,
            seed=seed,
            backend=backend,
            device=device,
        )
        types = {key: value.type for key, value in model.graph.inputs.items()}
        results = model(**read_texts_or_inputs(list(inputs), types, _read(tokenizer), places(model.elaborated)))
        if weights is None and model.weights:
            note(f"note: untrained weights, drawn from --seed {seed}; --weights FILE loads trained ones", quiet)
    if output is not None:
        _write(output, results)
        note(f"{output} written", quiet)
    elif as_json:
        print_json({key: array.tolist() for key, array in results.items()})
    else:
        for key, array in results.items():
            click.echo(_shown(key, array))
    return 0


def _read(path: Path | None) -> Tokenizer | None:
    from runtime.text.tokenizers import read_tokenizer

    return read_tokenizer(path) if path is not None else None


def _run_onnx(file: Path, inputs: tuple[str, ...], device: str, seed: int, given: Path | None) -> dict[str, Array]:
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.onnx_session import OnnxRunner
    from runtime.text.feeding import read_texts_or_inputs
    from runtime.text.places import stored_places
    from runtime.text.tokenizers import KEY, from_json

    if not file.is_file():
        raise NablacError(Diagnostic("E901", f"there is no file {file}", place=str(file)))
    runner = OnnxRunner(file, device=device)
    tokenizer = _read(given)
    if tokenizer is None and KEY in runner.metadata:
        tokenizer = from_json(runner.metadata[KEY])
    types = {key: _type(each) for key, each in runner.inputs.items()}
    feeds = read_texts_or_inputs(list(inputs), types, tokenizer, stored_places(runner.metadata))
    if "seed" in runner.inputs and "seed" not in feeds:
        import numpy as np

        feeds["seed"] = np.array(seed, np.int64)
    return runner.run(feeds)


def _type(declared: Any) -> TensorType:
    """The type of a session's input; dims that are not numbers stand as names."""
    from compiler.dims import Dim
    from compiler.types import DType, TensorType

    dtype = DType(ONNX_TYPES[declared.type.removeprefix("tensor(").removesuffix(")")])
    shape = (
        size if isinstance(size, int) else Dim.named(str(size or f"dim_{axis}"))
        for axis, size in enumerate(declared.shape)
    )
    return TensorType(dtype, tuple(shape))


def _shown(name: str, array: Array) -> str:
    """An output as a person reads it: its shape, then its numbers, or the first of them and their range."""
    import numpy as np

    head = f"{name}: {array.dtype}{list(array.shape)}"
    if array.size == 1:
        return f"{name}: {array.reshape(-1)[0]:.6g}"
    if array.ndim == 2 and array.shape[0] <= 8 and 2 <= array.shape[1] <= 1000 and array.dtype.kind == "f":
        lines = [head]
        for number, row in enumerate(array):
            best = np.argsort(row, kind="stable")[::-1][: min(5, len(row))]
            lines.append(f"  [{number}] " + "  ".join(f"{place}: {row[place]:.4g}" for place in best))
        return "\n".join([*lines[:1], "  largest items of each row, as place: value", *lines[1:]])
    if array.size <= MOST_SHOWN:
        text = np.array2string(array, precision=6, suppress_small=True, separator=" ")
        return head + "\n  " + text.replace("\n", "\n  ")
    flat = array.reshape(-1)
    first = " ".join(f"{each:.6g}" for each in flat[:8])
    if array.dtype.kind not in "iuf":
        return f"{head}\n  {first} ..."
    return f"{head}\n  {first} ...\n  from {flat.min():.6g} to {flat.max():.6g}, mean {flat.mean():.6g}"


def _check_ending(output: Path | None) -> None:
    if output is not None and output.suffix not in (".npy", ".npz", ".csv", ".json"):
        raise click.UsageError(
            f"`{output.suffix or output}` is no kind of result; the kinds are .npy, .npz, .csv, .json"
        )


def _write(path: Path, results: dict[str, Array]) -> None:
    """Write results in the form that the ending names; a form of one array takes the first output."""
    import json

    import numpy as np

    from runtime.files import write_bytes

    first = next(iter(results.values()))
    buffer = io.BytesIO()
    if path.suffix == ".npy":
        np.save(buffer, first)
    elif path.suffix == ".npz":
        np.savez(buffer, **results)  # type: ignore[arg-type]
    elif path.suffix == ".json":
        buffer.write(json.dumps({key: array.tolist() for key, array in results.items()}).encode())
    else:
        rows = first.reshape(len(first), -1) if first.ndim else first.reshape(1, 1)
        np.savetxt(buffer, rows, delimiter=",", fmt="%.9g")
    write_bytes(path, buffer.getvalue())

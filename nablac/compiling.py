"""From a `.model` file, a text or the folder of a run to a compiled model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

from compiler.elaborate.models import TextSource
from compiler.elaborate.presets import parse_settings
from compiler.elaborate.program import Program, program_of
from compiler.elaborate.program import load as load_program
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.source import Source
from nablac.arguments import check_path, float_type, plain, wrong_kind
from nablac.model import Model
from nablac.spec_names import model_named, shipped_specs


def compile(
    path_or_text: str | Path,
    *,
    model: str | None = None,
    preset: str | None = None,
    seed: int = 0,
    dtype: Any = "f32",
    training: bool = False,
    backend: str = "numpy",
    device: str = "cpu",
    **hypers: Any,
) -> Model:
    """Compile a `.model` file, the text of one, or a spec that comes with nablac, by its name, as "forecaster".

    NablacError holds every mistake in the text. `dtype` is a float type, by nablac's or NumPy's name. `hypers` override
    the model's hyperparameters; a text is read as the language reads it.
    """
    check_path(path_or_text, "path_or_text", "the name of a file or a spec, or the text of a model")
    for argument, value in (("model", model), ("preset", preset)):
        if value is not None and not isinstance(value, str):
            raise wrong_kind(argument, "a name", value)
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        raise wrong_kind("seed", "a whole number from 0", seed)
    text = str(path_or_text)
    is_text = isinstance(path_or_text, str) and ("\n" in text or "{" in text or not text.strip())
    program = program_of(Source("<text>", text)) if is_text else load_program(_spec_named(path_or_text))
    return from_program(
        program,
        model=model,
        preset=preset,
        hypers={name: plain(value) for name, value in hypers.items()},
        seed=seed,
        dtype=dtype,
        training=training,
        backend=backend,
        device=device,
    )


def _spec_named(path: str | Path) -> str:
    """The file of a spec; NablacError for the folder of a run, which `load` reads."""
    from runtime.training.trained import RECORD

    file = model_named(Path(path))
    if (file / RECORD).is_file():
        message, hint = f"{file} is the folder of a run", f"`nablac.load({str(file)!r})` reads it"
        raise NablacError(Diagnostic(codes.E902, message, place=str(file), hint=hint))
    return str(path if file == Path(path) else file)


def load(
    path: str | Path,
    weights: str | Path | None = None,
    rename: str | Path | Iterable[str | Path] = (),
    **settings: Any,
) -> Model:
    """Compile a `.model` file and load its weights from a file, as `Model.load` does.

    `path` may be the folder of a run instead, for the trained model.
    """
    check_path(path, "path", "the name of a file, or of the folder of a run")
    if not Path(path).is_dir():
        if not Path(path).exists() and str(path) not in shipped_specs():
            raise NablacError(Diagnostic(codes.E901, f"there is no run or file {path}", place=str(path)))
        if weights is None:
            raise NablacError(
                Diagnostic(codes.E901, "no weights are named", place=str(path), hint="`compile` needs none")
            )
        return compile(path, **settings).load(weights, rename)
    from compiler.elaborate.program_texts import SPEC
    from nablac.evaluating import Split
    from runtime.training.folder import weights_of
    from runtime.training.run_record import read_record

    run = Path(path)
    record = read_record(run)
    choices = record.choices
    hypers = parse_settings(choices.set)
    recorded = {"model": choices.model, "preset": choices.preset, "dtype": choices.dtype, **hypers}
    model = compile(run / SPEC, **{**recorded, **settings})
    model._folder = record.data_folder(run)
    names = ("seed", "validation", "data", "overfit", "skip_broken")
    model._split = Split({name: getattr(choices, name) for name in names}, record, run)
    return model.load(weights or weights_of(run), rename)


def from_program(
    program: Program,
    *,
    model: str | None = None,
    preset: str | None = None,
    hypers: Mapping[str, Any] | None = None,
    seed: int = 0,
    dtype: Any = "f32",
    training: bool = False,
    backend: str = "numpy",
    device: str = "cpu",
) -> Model:
    """The optimised model of a parsed program."""
    source = TextSource(program, model, preset, dict(hypers or {}), float_type(dtype))
    spec = source.spec(training=training)
    source = replace(source, model=spec.graph.name)
    return Model(spec, seed=seed, backend=backend, device=device, source=source, training=training)

"""Options that several commands share, each said once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from compiler.types import FLOATS
from nablac.commands.output import remember
from runtime.backends import BACKENDS, DEVICES

F = TypeVar("F", bound=Callable[..., Any])


class Finite(click.FloatRange):
    """A number in a range; `nan` and `inf` are in none."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """The number; `fail` where it is outside of the range, or not finite."""
        number = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"{number} is not finite (NaN or infinity)", parameter, context)
        return number


PENALTY = Finite(-10, 10)  # the power of a length: beyond it no length could be told from another


def _remember_color(context: click.Context, parameter: click.Parameter, value: str) -> str:
    remember(color=value)
    return value


def _remember_json(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    remember(as_json=value)
    return value


def _remember_verbose(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    remember(verbose=value)
    return value


def _remember_quiet(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    remember(quiet=value)
    return value


def asked(name: str) -> bool:
    """Whether a parameter of the running command was given by the user."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


@dataclass(frozen=True)
class ModelOptions:
    """The model that a command is about: where it is, its sizes, its weights, and what runs it.

    What a command has no options for is as it is here.
    """

    file: Path
    model: str | None = None
    preset: str | None = None
    set: tuple[str, ...] = ()  # hyperparameters, as NAME=VALUE
    dtype: str = "f32"
    weights: Path | None = None
    rename: tuple[str, ...] = ()
    seed: int = 0
    backend: str = "numpy"
    device: str = "cpu"
    data_folder: Path | None = None  # where relative paths of data begin, where that is not beside the file

    @property
    def is_run(self) -> bool:
        """Whether `file` is the folder of a run."""
        return self.file.is_dir()

    def files_read(self) -> list[Path]:
        """The files that the model is made of."""
        weights = [self.weights] if self.weights is not None else []
        if self.weights is not None and self.weights.is_dir():
            weights = list(self.weights.iterdir())
        return [self.file, *weights, *map(Path, self.rename)]

    def beside(self, suffix: str) -> Path:
        """What is written where the user names nothing: a run's folder keeps its whole name."""
        return self.file.with_name(self.file.name + suffix) if self.is_run else self.file.with_suffix(suffix)


@dataclass(frozen=True)
class FileOptions:
    """How an ONNX file is written, and what is said of it."""

    opset: int | None  # None for the lowest that says all of it
    verify: bool  # against the NumPy runtime, before the file is there
    as_json: bool
    quiet: bool


_MODEL = (
    click.argument("file", type=click.Path(path_type=Path), metavar="FILE"),
    click.option("--model", metavar="NAME", help="The model, if the file holds several."),
    click.option("--preset", metavar="NAME", help="A preset of the model."),
    click.option("--set", multiple=True, metavar="NAME=VALUE", help="Set a hyperparameter."),
    click.option("--dtype", type=click.Choice(FLOATS), default="f32", show_default=True, help="The float type."),
)


def model_options(command: Callable[..., int]) -> Callable[..., int]:
    """FILE, and what chooses and sizes the model in it: the command's first argument is its ModelOptions.

    Above `weight_options` and `run_options`, whose options are in it too.
    """
    return _with_options(_gathered(command), _MODEL)


def resumable_options(command: Callable[..., int]) -> Callable[..., int]:
    """`model_options` of a command whose FILE may be left out where `--resume` names a run, which has its own text."""

    def resumed(*, file: Path | None, resume: Path | None, **parameters: Any) -> int:
        from nablac.commands.runs import is_run
        from runtime.training.program_texts import SPEC

        if file is None and resume is None:
            raise click.UsageError("name a .model file, or a run with --resume RUN")
        if file is not None and is_run(file):
            raise click.UsageError(f"{file} is a run already: `nablac train --resume {file}` goes on with it")
        return gathered(file=file or Path(resume or "", SPEC), resume=resume, **parameters)

    gathered = _gathered(command)
    file = click.argument("file", type=click.Path(path_type=Path), metavar="[FILE]", required=False)
    return _with_options(wraps(gathered)(resumed), (file, *_MODEL[1:]))


def _gathered(command: Callable[..., int]) -> Callable[..., int]:
    """A command that takes the options of its model one by one, and has them as its first argument."""

    @wraps(command)
    def gathered(**parameters: Any) -> int:
        names = [each.name for each in fields(ModelOptions) if each.name in parameters]
        return command(ModelOptions(**{name: parameters.pop(name) for name in names}), **parameters)

    return gathered


def _with_options(command: F, options: Sequence[Callable[[F], F]]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


def weight_options(command: F) -> F:
    """Where the weights come from."""
    options = (
        click.option(
            "--weights",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Weights: a .safetensors file, or a folder with one or with shards and their index.",
        ),
        click.option(
            "--rename",
            multiple=True,
            metavar="RULE",
            help='Map foreign names: "theirs -> ours", or a file of rules.',
        ),
        click.option(
            "--seed",
            type=click.IntRange(0),
            default=0,
            show_default=True,
            help="The seed of initial weights and random draws.",
        ),
    )
    return _with_options(command, options)


def run_options(command: F) -> F:
    """What runs the model, and where."""
    options = (
        click.option(
            "--backend",
            type=click.Choice(BACKENDS),
            default="numpy",
            show_default=True,
            help="The runtime.",
        ),
        click.option(
            "--device",
            type=click.Choice(DEVICES),
            default="cpu",
            show_default=True,
            help="The device; cuda needs `--backend ort`.",
        ),
    )
    return _with_options(command, options)


def output_options(command: F) -> F:
    """How the command talks."""
    options = (
        click.option("--json", "as_json", is_flag=True, callback=_remember_json, is_eager=True, help="Print JSON."),
        click.option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            callback=_remember_color,
            is_eager=True,
            expose_value=False,
            help="Colours of errors.",
        ),
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            callback=_remember_quiet,
            is_eager=True,
            help="Print only results and errors.",
        ),
        click.option(
            "-v",
            "--verbose",
            is_flag=True,
            callback=_remember_verbose,
            is_eager=True,
            expose_value=False,
            help="Print what each stage does and how long it takes.",
        ),
    )
    return _with_options(command, options)


def check_rename(options: ModelOptions) -> None:
    """UsageError for rules without a file: they are of its entries."""
    if options.rename and options.weights is None:
        raise click.UsageError("`--rename` maps the names in a weight file: add `--weights FILE`")


OF_TEXTS = ("model", "preset", "set", "dtype", "weights", "rename")  # options that a compiled file has answered


def refuse_of_compiled(file: Path, *more: str) -> None:
    """A compiled file is as it was compiled, and onnxruntime runs it: options of a text would do nothing."""
    context = click.get_current_context()
    for option in context.command.params:
        name = option.name or ""
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if name in (*OF_TEXTS, *more):
            why = f"{file} is compiled already; give it to `nablac compile`, or run the .model file"
            raise click.UsageError(f"`{option.opts[0]}` does nothing here: {why}")
        if name == "backend" and context.params["backend"] != "ort":
            raise click.UsageError(f"`--backend {context.params['backend']}` cannot run {file}: onnxruntime does")

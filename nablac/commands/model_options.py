"""The model of a command, its weights, and the options that choose them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from compiler.types import FLOATS
from grammar.visible import shell_word
from nablac.commands.completions import complete_rules
from nablac.commands.named_models import ModelFile, names_in_file
from nablac.commands.option_types import NamedPath
from nablac.commands.options import F, collect_options, with_options
from nablac.spec_names import is_shipped


@dataclass(frozen=True)
class ModelOptions:
    """The model of a command: its file, its hyperparameters, its weights, and the backend that runs it.

    Fields without an option of the command keep these defaults.
    """

    file: Path
    model: str | None = None
    preset: str | None = None
    set: tuple[str, ...] = ()  # hyperparameters, as NAME=VALUE
    dtype: str = "f32"
    weights: Path | None = None
    rename: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()  # patterns of weights that are not loaded; none for those of the train block
    seed: int = 0
    backend: str = "numpy"
    device: str = "cpu"
    data_folder: Path | None = None  # base of relative data paths; None for the folder of the file

    @property
    def is_run(self) -> bool:
        """Whether `file` is the folder of a run."""
        return self.file.is_dir()

    def files_read(self) -> list[Path]:
        """The files that the model is read from."""
        weights = [self.weights] if self.weights is not None else []
        if self.weights is not None and self.weights.is_dir():
            weights = list(self.weights.iterdir())
        return [self.file, *weights, *map(Path, self.rename)]

    def beside(self, suffix: str) -> Path:
        """The default output path: the model's file with another suffix, or a run's folder with the suffix appended.

        For a model that comes with nablac, the path is in the working directory.
        """
        if is_shipped(self.file):
            return Path(self.file.name).with_suffix(suffix)
        return self.file.with_name(self.file.name + suffix) if self.is_run else self.file.with_suffix(suffix)


_MODEL = (
    click.argument("file", type=ModelFile(), metavar="FILE"),
    click.option(
        "--model",
        metavar="NAME",
        shell_complete=names_in_file("model"),
        help="Select a model, if the file has several.",
    ),
    click.option("--preset", metavar="NAME", shell_complete=names_in_file("preset"), help="Use a preset of the model."),
    click.option(
        "--set",
        multiple=True,
        metavar="NAME=VALUE",
        shell_complete=names_in_file("set"),
        help="Set a hyperparameter. Can be repeated.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(FLOATS),
        default="f32",
        show_default=True,
        help="Compile the model for this float type.",
    ),
)


def model_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add FILE and the options of its model; the command gets a ModelOptions as its first argument.

    Apply it above `weight_options` and `run_options`, whose values are collected in the ModelOptions too.
    """
    return with_options(collect_options(command, ModelOptions), _MODEL)


def resumable_options(command: Callable[..., int]) -> Callable[..., int]:
    """As `model_options`, for a command whose FILE can be omitted with `--resume RUN`: a run has its own text."""

    def resumed(*, file: Path | None, resume: Path | None, **parameters: Any) -> int:
        from compiler.elaborate.program_texts import SPEC

        if file is None and resume is None:
            raise click.UsageError("name a .model file, or a run with --resume RUN")
        if file is not None and is_run_folder(file):
            raise click.UsageError(
                f"{file} is the folder of a run: `nablac train --resume {shell_word(file)}` continues it"
            )
        return collected(file=file or Path(resume or "", SPEC), resume=resume, **parameters)

    collected = collect_options(command, ModelOptions)
    file = click.argument("file", type=ModelFile(), metavar="[FILE]", required=False)
    return with_options(wraps(collected)(resumed), (file, *_MODEL[1:]))


def is_run_folder(path: Path) -> bool:
    """Whether a path is the folder of a run."""
    if not path.is_dir():
        return False
    from runtime.training.trained import RECORD

    return (path / RECORD).is_file()


def text_options(command: F) -> F:
    """Add the options of a model, without FILE, for a command whose FILE is optional."""
    return with_options(command, _MODEL[1:])


def weight_options(command: F) -> F:
    """Add the options of weights and their initial values."""
    options = (
        click.option(
            "--weights",
            type=NamedPath(),
            metavar="FILE",
            help="Load weights from a .safetensors, .npz or .onnx file, or from a folder with one .safetensors file or "
            "with shards and their index.",
        ),
        click.option(
            "--rename",
            multiple=True,
            metavar="RULE",
            shell_complete=complete_rules,
            help='Rename weights: a rule "theirs -> ours", or a file of rules, or the name of one that comes with the '
            "library, such as pytorch, keras or gpt2. Can be repeated.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(0),
            default=0,
            show_default=True,
            metavar="N",
            help="Seed of initial weights and random draws.",
        ),
    )
    return with_options(command, options)


def fresh_option(command: F) -> F:
    """Add the option of weights that are not loaded."""
    option = click.option(
        "--fresh",
        multiple=True,
        metavar="PATTERN",
        help="With --weights, draw new initial values for the parameters whose paths match, such as 'head.*'. Can be "
        "repeated.  [default: from the train block]",
    )
    return option(command)


def check_rename(options: ModelOptions) -> None:
    """UsageError for rename rules and `--fresh` without weights to apply them to."""
    if options.rename and options.weights is None:
        raise click.UsageError("`--rename` maps the names in a weight file: add `--weights FILE`")
    if options.fresh and options.weights is None:
        raise click.UsageError("`--fresh` says which weights are not loaded: add `--weights FILE`")

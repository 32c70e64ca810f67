"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from compiler.model_spec import PRECISIONS
from compiler.targets import ORT_CPU, Target
from compiler.types import FLOATS
from grammar.diagnostics import NablacError
from grammar.record import ValueRecord
from grammar.visible import shell_word
from nablac.commands.completions import complete_rules
from nablac.commands.named_models import ModelFile, names_in_file
from nablac.commands.output import remember
from nablac.spec_names import is_shipped
from runtime.backends import BACKENDS, device_named
from runtime.training.option_ranges import LEAST, MOST_VALIDATION

F = TypeVar("F", bound=Callable[..., Any])


class Finite(click.FloatRange):
    """A finite number in a range."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """The number; `fail` if it is outside the range or not finite."""
        number = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"{number} is not finite (NaN or infinity)", parameter, context)
        return number


class ByteSize(click.ParamType):  # type: ignore[type-arg]  # no generic before click 8.3
    """A number of bytes, as 500MB or 2GiB."""

    name = "size"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """The bytes; `fail` if it is not a size."""
        from runtime.training.memory_budget import parse_bytes

        try:
            return parse_bytes(str(value))
        except NablacError as error:
            diagnostic = error.diagnostics[0]
            self.fail(f"{diagnostic.message}; {diagnostic.hint}", parameter, context)


def memory_budget_option(command: F) -> F:
    """Add the option of how much memory a training step may take."""
    option = click.option(
        "--memory-budget",
        type=ByteSize(),
        metavar="SIZE",
        help="Limit the memory of a training step, such as to 2GiB; where it must, it computes values a second time.",
    )
    return option(command)


def precision_option(command: F) -> F:
    """Add the option of what a training step computes its products in."""
    option = click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        help="Compute products in these floats of 16 bits; weights stay f32.  [default: from the train block]",
    )
    return option(command)


def whole_number(option: str) -> click.IntRange:
    """A whole number in the range of an option of a run."""
    return click.IntRange(LEAST[option])


_PENALTY = Finite(-10, 10)  # the exponent of a length: floats cannot compare scores beyond this


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


def was_given(name: str) -> bool:
    """Whether the user gave this parameter of the running command."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


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


class FileOptions(ValueRecord):
    """How an ONNX file is written and reported."""

    opset: int | None  # None for the best that the target has
    verify: bool  # against the NumPy runtime, before the file is moved to its name
    as_json: bool
    quiet: bool
    target: Target = ORT_CPU  # what the file is written for
    keep_weights: bool = False  # by their own names, and nothing computed from them


class StepOptions(ValueRecord):
    """What a training step that is compiled takes; None leaves it to the train block."""

    memory_budget: int | None = None  # bytes
    precision: str | None = None  # one of PRECISIONS


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
    return with_options(_collect_options(command), _MODEL)


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

    collected = _collect_options(command)
    file = click.argument("file", type=ModelFile(), metavar="[FILE]", required=False)
    return with_options(wraps(collected)(resumed), (file, *_MODEL[1:]))


def is_run_folder(path: Path) -> bool:
    """Whether a path is the folder of a run."""
    if not path.is_dir():
        return False
    from runtime.training.trained import RECORD

    return (path / RECORD).is_file()


def _collect_options(command: Callable[..., int]) -> Callable[..., int]:
    """The command, called with the options of its model one by one, which it gets as one ModelOptions."""

    @wraps(command)
    def with_model_options(**parameters: Any) -> int:
        names = [field.name for field in fields(ModelOptions) if field.name in parameters]
        return command(ModelOptions(**{name: parameters.pop(name) for name in names}), **parameters)

    return with_model_options


def text_options(command: F) -> F:
    """Add the options of a model, without FILE, for a command whose FILE is optional."""
    return with_options(command, _MODEL[1:])


def with_options(command: F, options: Sequence[Callable[[F], F]]) -> F:
    """Add options, which `--help` lists in their order."""
    for option in reversed(options):
        command = option(command)
    return command


def weight_options(command: F) -> F:
    """Add the options of weights and their initial values."""
    options = (
        click.option(
            "--weights",
            type=click.Path(path_type=Path),
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


def _limit_threads(context: click.Context, parameter: click.Parameter, count: int | None) -> int | None:
    if count is not None and not context.resilient_parsing:
        from runtime.thread_limits import with_threads

        context.with_resource(with_threads(count))
    return count


def _check_device(context: click.Context, parameter: click.Parameter, name: str) -> str:
    device_named(name)
    return name


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


def run_options(command: F) -> F:
    """Add the options of the backend, its device and its threads, which are not passed on."""
    options = (
        click.option(
            "--threads",
            type=click.IntRange(1, 4096),
            metavar="N",
            callback=_limit_threads,
            is_eager=True,
            expose_value=False,
            help="Use N threads.  [default: OMP_NUM_THREADS or all processors; of onnxruntime one for small training "
            "steps]",
        ),
        click.option(
            "--backend",
            type=click.Choice(BACKENDS),
            default="numpy",
            show_default=True,
            help="Run with NumPy or with onnxruntime.",
        ),
        click.option(
            "--device",
            metavar="cpu|cuda|cuda:N",
            default="cpu",
            show_default=True,
            callback=_check_device,
            help="Run on this device, the first or the one of this number; cuda needs --backend ort.",
        ),
    )
    return with_options(command, options)


def _parse_sizes(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, int]:
    """The sizes of named dims by name."""
    sizes: dict[str, int] = {}
    for text in texts:
        name, sign, number = text.partition("=")
        if not sign or not number.strip().isdecimal() or int(number) < 1:
            raise click.UsageError(f"`--size {text}` is not a size; write it as `--size batch=8`")
        sizes[name.strip()] = int(number)
    return sizes


def size_option(text: str) -> Callable[[F], F]:
    """The option `--size NAME=N`, which can be repeated; the command gets a dict of sizes by name."""
    return click.option(
        "--size",
        "sizes",
        multiple=True,
        metavar="NAME=N",
        callback=_parse_sizes,
        help=f"{text} Can be repeated.",
    )


def training_options(command: F) -> F:
    """Add the options of how long a model is trained, and on which data."""
    options = (
        click.option(
            "--epochs",
            type=whole_number("epochs"),
            metavar="N",
            help="Train for N epochs.  [default: from the train block]",
        ),
        click.option(
            "--validation",
            type=Finite(0, MOST_VALIDATION),
            metavar="FRACTION",
            help="Use this fraction of the examples for validation.  [default: from the train block]",
        ),
        click.option(
            "--patience",
            type=whole_number("patience"),
            metavar="N",
            help="Stop after N epochs without improvement.  [default: from the train block]",
        ),
        click.option("--data", type=click.Path(), help="Train on this data instead of the file in the train block."),
        click.option("--skip-broken", is_flag=True, help="Skip broken rows and files, and report their number."),
    )
    return with_options(command, options)


def beam_options(command: F) -> F:
    """Add the options of beam search."""
    options = (
        click.option(
            "--beams",
            type=click.IntRange(1, 1000),
            default=1,
            show_default=True,
            metavar="N",
            help="Use beam search with N beams.",
        ),
        click.option(
            "--length-penalty",
            type=_PENALTY,
            default=1.0,
            show_default=True,
            metavar="X",
            help="Length penalty of beam search; above 0 favours long texts.",
        ),
    )
    return with_options(command, options)


def output_options(command: F) -> F:
    """Add the options of what the command prints."""
    options = (
        click.option(
            "--json", "as_json", is_flag=True, callback=_remember_json, is_eager=True, help="Print results as JSON."
        ),
        click.option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            callback=_remember_color,
            is_eager=True,
            expose_value=False,
            help="Control when errors are coloured.",
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
            help="Print each stage and its duration.",
        ),
    )
    return with_options(command, options)


def check_rename(options: ModelOptions) -> None:
    """UsageError for rename rules and `--fresh` without weights to apply them to."""
    if options.rename and options.weights is None:
        raise click.UsageError("`--rename` maps the names in a weight file: add `--weights FILE`")
    if options.fresh and options.weights is None:
        raise click.UsageError("`--fresh` says which weights are not loaded: add `--weights FILE`")


OPTIONS_OF_COMPILATION = ("model", "preset", "set", "dtype", "weights", "rename")


def refuse_options_of_compilation(file: Path, *more: str) -> None:
    """UsageError for options that have no effect on a compiled file: those of compilation, and another backend."""
    context = click.get_current_context()
    for option in context.command.params:
        name = option.name or ""
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if name in (*OPTIONS_OF_COMPILATION, *more):
            reason = f"{file} is already compiled; give it to `nablac compile`, or run the .model file"
            raise click.UsageError(f"`{option.opts[0]}` has no effect: {reason}")
        if name == "backend" and context.params["backend"] != "ort":
            raise click.UsageError(f"`--backend {context.params['backend']}` cannot run {file}: onnxruntime does")

"""Options that several commands share, each said once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from nablac.commands.output import detail, is_quiet, note, remember, stage
from runtime.backends import BACKENDS, DEVICES

if TYPE_CHECKING:
    from compiler.elaborate.program import Program
    from nablac.model import Model

F = TypeVar("F", bound=Callable[..., Any])


class Finite(click.FloatRange):
    """A number in a range; `nan` and `inf` are in none."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
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


def model_options(command: F) -> F:
    """FILE, and what chooses and sizes the model in it."""
    for option in reversed(
        (
            click.argument("file", type=click.Path(path_type=Path), metavar="FILE"),
            click.option("--model", "name", metavar="NAME", help="The model, where the file holds several."),
            click.option("--preset", metavar="NAME", help="A size that the model names."),
            click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a hyperparameter."),
            click.option(
                "--dtype", type=click.Choice(["f32", "f64"]), default="f32", show_default=True, help="The float type."
            ),
        )
    ):
        command = option(command)
    return command


def weight_options(command: F) -> F:
    """Where the weights come from."""
    for option in reversed(
        (
            click.option(
                "--weights",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="Weights: a .safetensors file, or a folder with one or with an index of several.",
            ),
            click.option(
                "--rename",
                multiple=True,
                metavar="RULE",
                help='Map foreign names: "theirs -> ours", or a file of rules.',
            ),
            click.option(
                "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of first weights and draws."
            ),
        )
    ):
        command = option(command)
    return command


def run_options(command: F) -> F:
    """What runs the model, and where."""
    for option in reversed(
        (
            click.option(
                "--backend",
                type=click.Choice(BACKENDS),
                default="numpy",
                show_default=True,
                help="What runs the model.",
            ),
            click.option(
                "--device",
                type=click.Choice(DEVICES),
                default="cpu",
                show_default=True,
                help="Where; cuda needs `--backend ort`.",
            ),
        )
    ):
        command = option(command)
    return command


def output_options(command: F) -> F:
    """How the command talks."""
    for option in reversed(
        (
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
                help="Say nothing but results and errors.",
            ),
            click.option(
                "-v",
                "--verbose",
                is_flag=True,
                callback=_remember_verbose,
                is_eager=True,
                expose_value=False,
                help="Say what each stage does and how long it takes.",
            ),
        )
    ):
        command = option(command)
    return command


def compiled(
    file: Path,
    name: str | None,
    preset: str | None,
    settings: tuple[str, ...],
    dtype: str,
    *,
    weights: Path | None = None,
    rename: tuple[str, ...] = (),
    seed: int = 0,
    backend: str = "numpy",
    device: str = "cpu",
) -> Model:
    """The model that the options describe; of the folder of a run, the one that was trained."""
    if file.is_dir():
        from nablac.commands.runs import of_run

        begun = {"name": name, "preset": preset, "settings": settings, "dtype": dtype, "weights": weights}
        file, chosen = of_run(file, begun)
        name, preset, settings, dtype, weights = (chosen[key] for key in begun)
    check_rename(weights, rename)
    from compiler.elaborate.presets import parse_settings
    from compiler.elaborate.program import load
    from compiler.elaborate.values import show
    from nablac.model import from_program

    hypers = parse_settings(settings)
    with stage(f"{file}: read"):
        program = load(file)
    name = model_asked(program, name)
    with stage("elaborated and optimised"):
        model = from_program(
            program, model=name, preset=preset, hypers=hypers, seed=seed, dtype=dtype, backend=backend, device=device
        )
    detail(f"{model.name}: {len(model.graph)} operators")
    for key, value in model.hypers.items():
        detail(f"  {key} = {show(value)}")
    if weights is not None:
        with stage(f"{weights}: read"):
            model.load(weights, rename, lambda text: note(text, is_quiet()))
    return model


def check_rename(weights: Path | None, rename: Sequence[str]) -> None:
    """Rules are of the entries of a file."""
    if rename and weights is None:
        raise click.UsageError("`--rename` maps the names of a file of weights: `--weights FILE` gives it")


def model_asked(program: Program, name: str | None) -> str | None:
    """The model of that name, or where a file holds several and none is named, its first: which is said on stderr."""
    names = [defined.name for defined in program.models]
    trained = {train.model.text for train in program.trains} & set(names)
    if name is not None or len(names) < 2 or len(trained) == 1:  # the one that is trained is the one that is meant
        return name
    text = f"note: {program.source.name} holds {', '.join(names)}: this is {names[0]}; `--model` chooses another"
    note(text, is_quiet())
    return names[0]


OF_TEXTS = ("name", "preset", "settings", "dtype", "weights", "rename")  # options that a compiled file has answered


def refuse_of_compiled(file: Path, *more: str) -> None:
    """A compiled file is as it was compiled, and onnxruntime runs it: options of a text would do nothing."""
    context = click.get_current_context()
    for option in context.command.params:
        name = option.name or ""
        if context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        if name in (*OF_TEXTS, *more):
            why = f"{file} is compiled already; give it to `nablac compile`, or run the .model file"
            raise click.UsageError(f"`{option.opts[0]}` does nothing here: {why}")
        if name == "backend" and context.params["backend"] != "ort":
            raise click.UsageError(f"`--backend {context.params['backend']}` cannot run {file}: onnxruntime does")

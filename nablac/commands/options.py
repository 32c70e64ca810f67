"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from nablac.commands.option_types import Finite, NamedPath, whole_number
from nablac.commands.output import remember, stage
from runtime.backends import BACKENDS, device_named
from runtime.training.option_ranges import MOST_VALIDATION

F = TypeVar("F", bound=Callable[..., Any])


def was_given(name: str) -> bool:
    """Whether the user gave this parameter of the running command."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def collect_options(command: Callable[..., int], kind: type[Any]) -> Callable[..., int]:
    """The command, called with those of its options that are fields of the dataclass `kind` as one value of it.

    It is the last positional argument. Fields without an option of the command keep their defaults.
    """
    names = [field.name for field in fields(kind)]

    @wraps(command)
    def collected(*arguments: Any, **parameters: Any) -> int:
        values = {name: parameters.pop(name) for name in names if name in parameters}
        return command(*arguments, kind(**values), **parameters)

    return collected


def with_options(command: F, options: Sequence[Callable[[F], F]]) -> F:
    """Add options, which `--help` lists in their order."""
    for option in reversed(options):
        command = option(command)
    return command


def _limit_threads(context: click.Context, parameter: click.Parameter, count: int | None) -> int | None:
    if count is not None and not context.resilient_parsing:
        from runtime.thread_limits import with_threads

        context.with_resource(with_threads(count))
    return count


def _check_device(context: click.Context, parameter: click.Parameter, name: str) -> str:
    device_named(name)
    return name


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
        click.option(
            "--data", type=NamedPath(as_text=True), help="Train on this data instead of the file in the train block."
        ),
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
            type=Finite(-10, 10),  # the exponent of a length: floats cannot compare scores beyond this
            default=1.0,
            show_default=True,
            metavar="X",
            help="Length penalty of beam search; above 0 favours long texts.",
        ),
    )
    return with_options(command, options)


def _remembered(fact: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback of an option that remembers its value as this fact of output."""

    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        remember(**{fact: value})
        return value

    return callback


def output_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of what the command prints; with `-v` also its whole duration."""

    @wraps(command)
    def timed(*arguments: Any, **parameters: Any) -> int:
        with stage("all"):
            return command(*arguments, **parameters)

    options = (
        click.option(
            "--json",
            "as_json",
            is_flag=True,
            callback=_remembered("as_json"),
            is_eager=True,
            help="Print results as JSON.",
        ),
        click.option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            callback=_remembered("color"),
            is_eager=True,
            expose_value=False,
            help="Control when errors are coloured.",
        ),
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            callback=_remembered("quiet"),
            is_eager=True,
            help="Print only results and errors.",
        ),
        click.option(
            "-v",
            "--verbose",
            is_flag=True,
            callback=_remembered("verbose"),
            is_eager=True,
            expose_value=False,
            help="Print each stage and its duration.",
        ),
    )
    return with_options(timed, options)

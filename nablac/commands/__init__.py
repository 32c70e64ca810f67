"""The command line: one file for each command, imported when it runs."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

import nablac
from grammar import codes
from grammar.visible import shortened, visible
from nablac.commands.signals import handled

if TYPE_CHECKING:
    from grammar.diagnostics import NablacError

COMMANDS = {  # each is a module of this package; the text is its line in `nablac --help`
    "check": "Check .model files: names, shapes, dtypes.",
    "compile": "Compile a model to an ONNX file.",
    "run": "Run a model on input files.",
    "train": "Train a model as its train block says.",
    "tune": "Search the ranges of a model's text.",
    "eval": "The loss and metrics of a trained model.",
    "compare": "Compare runs: settings, results, curves.",
    "generate": "Generate text: greedy, sampled, or by beam search.",
    "grad": "The gradients of a model's loss as an ONNX file.",
    "summary": "Layers, shapes, parameters, operations, memory.",
    "draw": "Draw a model: SVG, HTML, Mermaid, DOT.",
    "verify": "Compare the NumPy runtime with onnxruntime.",
    "explain": "Explain a diagnostic's code.",
    "doctor": "Show what is installed and what is missing.",
}


class Commands(click.Group):
    """Commands by name, without importing any but the one that runs."""

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all commands, in the order of `nablac --help`."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of this name, whose module is imported now; None where there is none."""
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"nablac.commands.{name}").command
        return command

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        """The command that the arguments name; UsageError with a hint where it is none."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from grammar.diagnostics import did_you_mean

            hint = did_you_mean(args[0], COMMANDS)
            if args[0].endswith(".model"):
                hint = f"did you mean `nablac check {args[0]}`?"
            raise click.UsageError(f"there is no command `{args[0]}`" + (f"; {hint}" if hint else ""), context)
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """A line for each command, from the table: click itself would import them all."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(nablac.__version__, prog_name="nablac")
def cli() -> None:
    """A compiler for neural networks: write a network as equations, check it, run it, compile it to ONNX.

    \b
    nablac check specs/lstm.model
    nablac compile specs/lstm.model -o lstm.onnx
    """


def main() -> None:
    """Run the command line: 0 is fine, 1 an error in the input, 2 wrong use or data, 130 interrupted, 70 our fault."""
    from nablac.commands.streams import OutputFailed, discard_output, open_streams

    open_streams()
    with _unwound() as caught:
        try:
            # Not `cli.main`, which makes its own end of an interrupt and of a pipe that nobody reads any more.
            with cli.make_context("nablac", sys.argv[1:]) as context:
                status = cli.invoke(context)
            sys.stdout.flush()
        except click.exceptions.Exit as ended:
            status = ended.exit_code
        except click.ClickException as error:
            told = io.StringIO()
            error.show(told)
            click.echo(visible(shortened(told.getvalue().rstrip("\n"))), err=True)
            status = 2
        except BrokenPipeError:
            discard_output()
            status = 0
        except (KeyboardInterrupt, click.exceptions.Abort):
            status = _interrupted()
        except OutputFailed as error:
            discard_output()
            click.echo(str(error), err=True)
            status = error.exit_code
        except Exception as error:
            if signal.SIGTERM in caught:
                status = 128 + signal.SIGTERM
            else:
                status = _interrupted() if caught else _failed(error)
    sys.exit(status if isinstance(status, int) else 0)


@contextmanager
def _unwound() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM unwind the command, so that drafts of files are removed; the list has those that came.

    A module whose import they cut short may make an error of its own of them.
    """
    caught: list[int] = []

    def end(number: int) -> None:
        caught.append(number)
        if number == signal.SIGTERM:
            sys.exit(128 + number)
        raise KeyboardInterrupt

    with handled(end):
        yield caught


def _interrupted() -> int:
    click.echo("interrupted", err=True)
    return 130


def _failed(error: Exception) -> int:
    """Show a mistake of the user's as a diagnostic, and one of ours as a line to report."""
    from grammar.diagnostics import NablacError
    from nablac.commands.output import show_error

    if isinstance(error, (MemoryError, OSError)):
        error = _of_system(error)
    if isinstance(error, NablacError):
        show_error(error)
        return error.exit_code
    if os.environ.get("NABLAC_DEBUG"):
        raise error
    click.echo(f"internal error: {type(error).__name__}: {visible(str(error)[:200])}", err=True)
    click.echo(
        "This is a bug in nablac; NABLAC_DEBUG=1 shows the traceback. Please report it with the model.", err=True
    )
    return 70


def _of_system(error: MemoryError | OSError) -> NablacError:
    """What the system refuses, wherever it was asked: a fault of the surroundings, and not ours."""
    from grammar.diagnostics import Diagnostic, NablacError

    if isinstance(error, MemoryError):
        return NablacError(
            Diagnostic(codes.E810, "not enough memory", hint="choose smaller sizes, or less data at a time")
        )
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    place = str(error.filename) if error.filename is not None else None
    return NablacError(Diagnostic(codes.E916, f"the operating system refuses: {reason}", place=place))

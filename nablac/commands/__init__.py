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
from nablac.commands.completions import VARIABLE, answer_shell
from nablac.commands.signals import end_by, signals_handled_by

if TYPE_CHECKING:
    from grammar.diagnostics import NablacError

COMMANDS = {  # each is a module of this package; the text is the first line of its help
    "init": "Write a first spec.",
    "check": "Check .model files for errors.",
    "fmt": "Format .model files.",
    "compile": "Compile a model to ONNX.",
    "run": "Run a model on input files.",
    "predict": "Predict for tables, images or texts.",
    "train": "Train a model.",
    "tune": "Search the ranges of a model.",
    "eval": "Evaluate a model.",
    "compare": "Compare runs.",
    "generate": "Generate text with a model.",
    "grad": "Export a model's gradients to ONNX, or print them.",
    "summary": "Show a model's layers, shapes and cost.",
    "draw": "Draw a model as SVG, HTML, Mermaid or DOT.",
    "profile": "Show where the time of a model goes.",
    "bench": "Compare backends, threads and forms of a model.",
    "plan": "Predict the speed of several workers.",
    "verify": "Compare the NumPy runtime with onnxruntime.",
    "explain": "Explain a diagnostic code.",
    "doctor": "Check the installation.",
    "completion": "Print the script for completion in a shell.",
}


class Commands(click.Group):
    """All commands by name; only the one that runs is imported."""

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all commands, in the order of `nablac --help`."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import and return the command of this name; None if there is none."""
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"nablac.commands.{name}").command
        return command

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        """The command that the arguments name; UsageError with a hint for an unknown name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from grammar.diagnostics import did_you_mean
            from grammar.visible import shell_word

            hint = did_you_mean(args[0], COMMANDS)
            if args[0].endswith(".model"):
                hint = f"did you mean `nablac check {shell_word(args[0])}`?"
            raise click.UsageError(f"there is no command `{args[0]}`" + (f"; {hint}" if hint else ""), context)
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, since click would import all of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(nablac.__version__, prog_name="nablac")
def cli() -> None:
    """A compiler for neural networks.

    Write a network as equations; check it, train it, run it, and compile it to ONNX.

    \b
    Example:
      nablac init forecast
      nablac train forecast.model --epochs 3
      nablac predict runs/forecast/1 data/airline-passengers.csv --steps 12
    """


def main() -> None:
    """Run the command line and exit.

    The exit status is 0 for success, 1 for errors in a model, 2 for wrong usage or data, 70 for an internal error, 130
    after Ctrl-C, 143 after SIGTERM.
    """
    try:
        _run()
    except SystemExit as ended:
        if isinstance(ended.code, int) and ended.code:
            from nablac.commands.worker_processes import end_failed

            end_failed(ended.code)
        raise


def _run() -> None:
    from nablac.commands.streams import OutputFailed, discard_output, open_streams

    open_streams()
    if VARIABLE in os.environ:
        answer_shell(cli)
        sys.exit(0)
    with _raise_signals() as caught:
        try:
            # Not `cli.main`, which handles interrupts and closed pipes in its own way.
            with cli.make_context("nablac", sys.argv[1:]) as context:
                status = cli.invoke(context)
            sys.stdout.flush()
        except click.exceptions.Exit as ended:
            status = ended.exit_code
        except click.ClickException as error:
            from nablac.commands.worker_processes import wait_to_report

            message = io.StringIO()
            error.show(message)
            wait_to_report()
            click.echo(visible(shortened(message.getvalue().rstrip("\n"))), err=True)
            status = 2
        except BrokenPipeError:
            discard_output()
            status = 0
        except (KeyboardInterrupt, click.exceptions.Abort):
            status = _report_interrupt()
        except OutputFailed as error:
            discard_output()
            click.echo(str(error), err=True)
            status = error.exit_code
        except Exception as error:
            if signal.SIGTERM in caught:
                status = 128 + signal.SIGTERM
            else:
                status = _report_interrupt() if caught else _report_failure(error)
    sys.exit(status if isinstance(status, int) else 0)


@contextmanager
def _raise_signals() -> Iterator[list[int]]:
    """Raise Ctrl-C and SIGTERM as exceptions, so that drafts of files are removed; yields the signals received.

    The list is needed because a module that is being imported may turn the exception into another one.
    """
    caught: list[int] = []

    def end(number: int) -> None:
        caught.append(number)
        end_by(number)

    with signals_handled_by(end):
        yield caught


def _report_interrupt() -> int:
    click.echo("interrupted", err=True)
    return 130


def _report_failure(error: Exception) -> int:
    """Show an error of the input or the system as a diagnostic, and any other as an internal error to report."""
    from grammar.diagnostics import NablacError
    from nablac.commands.output import show_error
    from nablac.commands.worker_processes import wait_to_report

    wait_to_report()
    if isinstance(error, (MemoryError, OSError)):
        error = _system_error(error)
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


def _system_error(error: MemoryError | OSError) -> NablacError:
    """The diagnostic for an operation that the system refused, wherever it was called: not a bug of nablac."""
    from grammar.diagnostics import Diagnostic, NablacError

    if isinstance(error, MemoryError):
        return NablacError(
            Diagnostic(codes.E810, "not enough memory", hint="choose smaller sizes, or less data at a time")
        )
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    location = str(error.filename) if error.filename is not None else None
    return NablacError(Diagnostic(codes.E916, f"the operating system refuses: {reason}", place=location))

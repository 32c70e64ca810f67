"""`nablac predict`: a trained model on tables, images or texts as they stand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import click

from grammar.file_kinds import ENCODINGS, THOUSANDS
from nablac.commands.completions import complete_inputs
from nablac.commands.model_options import ModelOptions, model_options, weight_options
from nablac.commands.option_types import Count, NamedPath
from nablac.commands.options import output_options, run_options
from nablac.commands.output import encodable, note, print_json, printable, stage
from nablac.commands.predictor_setup import set_up_predictor
from runtime.atomic_files import is_stream

if TYPE_CHECKING:
    from runtime.prediction.table_rows import Columns

STDOUT = "-"


class PredictFileJson(TypedDict):
    """Predictions that were written to a file."""

    output: Annotated[str, "the file"]
    rows: Annotated[int, "how many"]
    columns: Annotated[list[str], "their names"]
    skipped: Annotated[int, "rows and files of the inputs that were skipped"]


@click.command()
@model_options
@click.argument(
    "inputs", nargs=-1, required=True, type=NamedPath(as_text=True), metavar="INPUT...", shell_complete=complete_inputs
)
@click.option("-o", "--output", type=NamedPath(), help="Write a .csv, .jsonl or .parquet file.  [default: stdout]")
@click.option("--steps", type=Count(1), metavar="N", help="Series: forecast N rows.  [default: as many as at once]")
@click.option("--all", "of_all", is_flag=True, help="Series: predict for the whole past, too.")
@click.option(
    "--keep",
    type=click.Choice(["other", "all", "none"]),
    default="other",
    show_default=True,
    help="The table's columns to keep: all except the model's inputs (other), all, or none.",
)
@click.option("--column", metavar="NAME", help="The column of a table that holds the texts.")
@click.option("--output-of", "outputs", multiple=True, metavar="NAME", help="Add this output of the model, unchanged.")
@click.option("--skip-broken", is_flag=True, help="Skip broken rows and files, and report how many.")
@click.option("--separator", metavar="CHAR", help="The separator of CSV cells.  [default: as in training]")
@click.option(
    "--decimal", type=click.Choice([".", ","]), help="The decimal sign of CSV numbers.  [default: as in training]"
)
@click.option(
    "--header/--no-header", default=None, help="Whether a CSV's first row is names.  [default: as in training]"
)
@click.option(
    "--encoding", type=click.Choice(ENCODINGS), metavar="NAME", help="The encoding of CSV.  [default: as in training]"
)
@click.option(
    "--thousands",
    type=click.Choice([*THOUSANDS]),
    metavar="CHAR",
    help="The sign between thousands of CSV numbers.  [default: as in training]",
)
@click.option("--tokenizer", type=NamedPath(), metavar="FILE", help="For texts: a tokenizer.json or vocab.txt.")
@run_options
@weight_options
@output_options
def command(
    options: ModelOptions,
    inputs: tuple[str, ...],
    output: Path | None,
    steps: int | None,
    of_all: bool,
    keep: Literal["other", "all", "none"],
    column: str | None,
    outputs: tuple[str, ...],
    skip_broken: bool,
    separator: str | None,
    decimal: str | None,
    header: bool | None,
    encoding: str | None,
    thousands: str | None,
    tokenizer: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Predict for tables, images or texts.

    FILE is the folder of a run, or a .onnx file compiled from one. INPUTs have the form of the training data: tables
    (.csv, .csv.gz, .parquet, .jsonl, - for stdin) with columns found by name; images, folders of them, or lists of file
    names (@FILE); files with a text on each line, or tables with a column of texts; arrays (.npy, .npz). For a series
    the rows after the last one are forecast. Values are in the units of the data, classes have names and probabilities,
    and other columns, such as ids and dates, are kept.

    \b
    Example:
      nablac init forecast
      nablac train forecast.model --epochs 3
      nablac predict runs/forecast/1 data/airline-passengers.csv --steps 12
    """
    from runtime.outputs import check_output
    from runtime.prediction.findings import Findings
    from runtime.prediction.prediction import Request, predict

    _check_suffix(output)
    if steps is not None and of_all:
        raise click.UsageError("--steps is a forecast beyond the last row, and --all is about the past: choose one")
    to_file = output is not None and str(output) != STDOUT
    if output is not None and to_file:
        read = [path.removeprefix("@") for path in inputs]
        check_output(output, reads=[*options.files_read(), *([tokenizer] if tokenizer is not None else []), *read])
    with stage("predictor set up"):
        predictor = set_up_predictor(options, tokenizer)
    dialect = (_character(separator), decimal, header, encoding, thousands)
    request = Request(steps, of_all, keep, column, outputs, *dialect)
    findings = Findings(skip_broken)
    with stage("predicted"), _progress(quiet or (not to_file and sys.stdout.isatty())) as counted:
        sink = _Sink(output, as_json)
        sink.take(counted(predict(predictor, inputs, request, findings)))
    for line in findings.lines():
        note(line, quiet and not line.startswith(" "))
    if to_file:
        if as_json:
            written = str(output)
            print_json(PredictFileJson(output=written, rows=sink.rows, columns=sink.names, skipped=findings.skipped))
        else:
            note(f"{output}: {sink.rows:,} row{'' if sink.rows == 1 else 's'}", quiet)
    return 0


@dataclass
class _Sink:
    """Where results go: a file, or standard output as CSV or as one JSON list."""

    output: Path | None
    as_json: bool
    rows: int = 0

    def __post_init__(self) -> None:
        self.names: list[str] = []

    def take(self, results: Iterator[Columns]) -> None:
        """Write all results; nothing is written to a file where one of them cannot be made."""
        from runtime.prediction.writing import CsvWriter, written

        if self.output is not None and str(self.output) != STDOUT:
            with written(self.output) as writer:
                for columns in self._counted(results):
                    writer.write(columns)
        elif self.as_json:
            self._print_json(results)
        else:
            stdout = CsvWriter(_print)
            for columns in self._counted(results):
                stdout.write(columns)

    def _print_json(self, results: Iterator[Columns]) -> None:
        from runtime.prediction.writing import json_rows

        before = "[\n"
        for columns in self._counted(results):
            for row in json_rows(columns, self.names):
                _print(f"{before}  {row}")
                before = ",\n"
        _print("\n]\n")

    def _counted(self, results: Iterable[Columns]) -> Iterator[Columns]:
        from runtime.prediction.table_rows import len_of

        for columns in results:
            self.names = self.names or list(columns)
            self.rows += len_of(columns)
            yield columns


def _print(text: str) -> None:
    click.echo(printable(text, sys.stdout) if sys.stdout.isatty() else encodable(text, sys.stdout), nl=False)


@contextmanager
def _progress(hidden: bool) -> Iterator[Any]:
    """On a terminal the rows so far, unless that is hidden; a function that passes results on."""
    if hidden or not sys.stderr.isatty():
        yield lambda results: results
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from runtime.prediction.table_rows import len_of

    shown = (SpinnerColumn(), TextColumn("{task.completed:,.0f} rows"), TimeElapsedColumn())
    with Progress(*shown, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def counted(results: Iterator[Columns]) -> Iterator[Columns]:
            for columns in results:
                yield columns
                bar.advance(task, len_of(columns))

        yield counted


def _check_suffix(output: Path | None) -> None:
    """A usage error for a file that names no form of results."""
    from runtime.prediction.writing import FORMATS

    if output is None or str(output) == STDOUT or is_stream(output) or output.suffix.lower() in FORMATS:
        return
    forms = ", ".join(FORMATS)
    raise click.UsageError(f"`{output.suffix or output}` is not a format of predictions; the formats are {forms}")


def _character(separator: str | None) -> str | None:
    character = "\t" if separator == "\\t" else separator
    if character is not None and (len(character) != 1 or character in '"\r\n'):
        raise click.BadParameter(f"`{separator}` is not one character between cells", param_hint="--separator")
    return character

"""`nablac init`: a first spec, with data beside it or for a table of one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import click
from click.shell_completion import CompletionItem

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean_file
from grammar.file_kinds import ENCODINGS
from grammar.visible import shell_word
from nablac.commands.completions import matching_paths, path_items
from nablac.commands.option_types import NamedPath
from nablac.commands.options import output_options
from nablac.commands.output import note, print_json, stage

if TYPE_CHECKING:
    from runtime.data.csv_file import Format


class InitJson(TypedDict):
    """What `nablac init` has written."""

    files: Annotated[list[str], "the spec first, then its data"]
    remarks: Annotated[list[str], "which columns of a table are left out, and why"]


DATA = {  # of each template, in its folder `data`
    "forecast": "airline-passengers.csv",
    "images": "digits.npz",
    "text": "text.txt",
}


def _tables(prefix: str) -> Iterator[str]:
    """The paths of tables that begin so."""
    from runtime.data.table_blocks import SUFFIXES

    return matching_paths(prefix, tuple(suffix + packed for suffix in SUFFIXES for packed in ("", ".gz")))


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    kinds = [kind for kind in DATA if kind.startswith(incomplete)]
    return path_items([*kinds, *_tables(incomplete)])


@click.command()
@click.argument(
    "what",
    metavar="[forecast|images|text|TABLE]",
    type=NamedPath(as_text=True),
    default="forecast",
    shell_complete=_complete,
)
@click.argument("table", metavar="[TABLE]", type=NamedPath(as_text=True), required=False, shell_complete=_complete)
@click.option("--target", metavar="COLUMN", help="Predict this column of TABLE.  [default: the last one]")
@click.option("--rows", is_flag=True, help="Take each row for an example, also where the table has dates.")
@click.option("--header/--no-header", default=None, help="Whether the first row of a CSV file is names.")
@click.option("--encoding", type=click.Choice(ENCODINGS), metavar="NAME", help="The encoding of a CSV file.")
@output_options
def command(
    what: str,
    table: str | None,
    target: str | None,
    rows: bool,
    header: bool | None,
    encoding: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write a first spec.

    Writes a small spec to start from, with its data in the folder data: a forecast of a series, a classifier of images,
    or a model of a text. For a table in CSV, Parquet or JSON, writes a spec beside it and says what it takes the table
    for: with dates that go forward, also within each of several series, it forecasts the next rows; else it predicts
    one column from the others in its row. `forecast TABLE` insists on dates. Files that are there already are not
    touched.

    \b
    Example:
      nablac init forecast
      nablac train forecast.model --epochs 3
    """
    from runtime.data.csv_file import Format

    remarks: tuple[str, ...] = ()
    format = Format(header=header, encoding=encoding or "", command=True)
    if what in DATA and table is None and (header is not None or encoding):
        raise click.UsageError(
            "--header and --encoding are those of a table: `nablac init TABLE.csv --encoding cp1252`"
        )
    if what in DATA and table is None:
        files = _of_template(what, target, rows)
    elif table is None:
        files, remarks = _of_table(Path(what), target, format, False if rows else None)
    elif what == "forecast" and not rows:
        files, remarks = _of_table(Path(table), target, format, True)
    else:
        raise click.UsageError("a table goes with `forecast` alone: `nablac init forecast TABLE.csv`, without --rows")
    for path in files:
        if os.path.lexists(path):
            hint = f"remove or rename it, or run `nablac init` in another folder: {path} would be lost"
            raise NablacError(Diagnostic(codes.E904, f"{path} is there already", place=str(path), hint=hint))
    with stage("written"):
        _write(files)
    spec = next(iter(files))
    if as_json:
        print_json(InitJson(files=[str(path) for path in files], remarks=list(remarks)))
    else:
        click.echo("\n".join(str(path) for path in files))
        for remark in remarks:
            note(f"note: {remark}", quiet)
        note(f"train it:  nablac train {shell_word(spec)}", quiet)
    return 0


def _of_template(kind: str, target: str | None, rows: bool) -> dict[Path, bytes]:
    """The files of a template: the spec, then its data."""
    from specs import FOLDER

    if target is not None:
        raise click.UsageError("--target names a column of a table: `nablac init TABLE.csv --target COLUMN`")
    if rows:
        raise click.UsageError("--rows are those of a table: `nablac init TABLE.csv --rows`")
    if kind == "text":  # the pages of all diagnostics, which every installation has
        pages = sorted((FOLDER / "diagnostics").glob("*.md"))
        data = "\n".join(page.read_text("utf-8") for page in pages).encode()
    else:
        data = (FOLDER / "data" / DATA[kind]).read_bytes()
    spec = (FOLDER / "templates" / f"{kind}.model").read_bytes()
    return {Path(f"{kind}.model"): spec, Path("data", DATA[kind]): data}


def _of_table(
    table: Path, target: str | None, format: Format, forecasts: bool | None
) -> tuple[dict[Path, bytes], tuple[str, ...]]:
    """The spec for a table, which is beside it, and remarks on what it takes the table for."""
    from nablac.commands.first_spec import spec_for_table
    from nablac.commands.table_columns import spec_path

    if not table.suffix and not table.exists():
        raise click.UsageError(f"`{table}` is neither {', '.join(DATA)} nor a file: `nablac init TABLE.csv`")
    if not table.exists():
        hint = did_you_mean_file(str(table), _tables(""))
        raise NablacError(Diagnostic(codes.E820, "there is no such file", place=str(table), hint=hint))
    with stage(f"{table}: read"):
        spec = spec_for_table(table, target, format, forecasts=forecasts)
    return {spec_path(table): spec.text.encode()}, spec.remarks


def _write(files: dict[Path, bytes]) -> None:
    """Write all files; the spec last, so that it is there only with its data."""
    from runtime.atomic_files import write_bytes
    from runtime.new_folders import make_parent

    for path, content in reversed(files.items()):
        make_parent(path)
        write_bytes(path, content)

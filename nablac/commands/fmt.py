"""`nablac fmt`: the canonical layout of .model files."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Annotated, TypedDict

import click

from grammar.diagnostics import Diagnostic, DiagnosticJson, NablacError
from grammar.source import Source
from nablac.commands.model_files import STDIN, models_in, read_standard_input, without_runs
from nablac.commands.option_types import NamedPath
from nablac.commands.options import output_options
from nablac.commands.output import encodable, note, print_json, show_error, stage, wants_color


class FormatJson(TypedDict):
    """What `nablac fmt` has done, or would do with `--check`."""

    files: Annotated[int, "how many were read"]
    changed: Annotated[list[str], "those whose layout changes"]
    errors: Annotated[list[DiagnosticJson], "of files that are left as they are"]


_COLORS = {"+++": "1", "---": "1", "@@": "36", "+": "32", "-": "31"}  # by the beginnings of a diff's lines


@dataclass(frozen=True)
class _Formatted:
    """A file, its text, and the text as it should be laid out."""

    file: Path
    before: str
    after: str

    @property
    def changes(self) -> bool:
        return self.before != self.after


@click.command()
@click.argument("files", nargs=-1, required=True, type=NamedPath())
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit with 1 if a file would change.")
@click.option("--diff", "as_diff", is_flag=True, help="Write nothing; print what would change, and exit as --check.")
@output_options
def command(files: tuple[Path, ...], only_check: bool, as_diff: bool, as_json: bool, quiet: bool) -> int:
    """Format .model files.

    Rewrites them with uniform spacing and line breaks, and the same meaning and comments. A folder stands for all
    .model files in it, without those of runs; with - the text is read from standard input, and printed. Files with
    syntax errors are left as they are.

    \b
    Example:
      nablac init forecast
      nablac fmt --diff forecast.model
    """
    if STDIN in files and len(files) > 1:
        raise click.UsageError("- is standard input, and can only be the one file")
    if as_diff and as_json:
        raise click.UsageError("--diff prints text, and --json does not: choose one")
    results: list[_Formatted] = []
    errors: list[Diagnostic] = []
    named = _expand(files, errors)
    for file in named:
        try:
            with stage(f"{file}: formatted"):
                result = _format(file)
                if not only_check and not as_diff and file != STDIN:
                    _write(result)
            results.append(result)
        except NablacError as error:
            errors += error.diagnostics
    changed = [result for result in results if result.changes]
    failed = NablacError(*errors)
    if as_json:
        names = [str(result.file) for result in changed]
        facts = [diagnostic.to_json() for diagnostic in errors]
        print_json(FormatJson(files=len(named), changed=names, errors=facts))
    else:
        _print(results, len(named) - len(results), only_check, as_diff, quiet)
        if errors:
            show_error(failed)
    if errors:
        return failed.exit_code
    return int((only_check or as_diff) and bool(changed))


def _expand(files: tuple[Path, ...], errors: list[Diagnostic]) -> list[Path]:
    """The files, with a folder replaced by those in it; each once."""
    expanded: dict[Path, None] = {}
    for file in files:
        try:
            inside = without_runs(models_in(file)) if file != STDIN and file.is_dir() else [file]
            expanded |= dict.fromkeys(inside)
        except NablacError as error:
            errors += error.diagnostics
    return list(expanded)


def _format(file: Path) -> _Formatted:
    """Format a file; its line ends stay `\\r\\n` if its first one is."""
    from grammar.parser import parse, read_source
    from grammar.printer import print_file

    source = read_standard_input() if file == STDIN else read_source(file)
    line_end = "\r\n" if source.text.partition("\n")[0].endswith("\r") else "\n"
    text = print_file(parse(Source(source.name, source.text.replace("\r\n", "\n"))))
    return _Formatted(file, source.text, text.replace("\n", line_end))


def _write(result: _Formatted) -> None:
    """Replace a file, as a whole, by its formatted text."""
    from runtime.atomic_files import atomic_write
    from runtime.outputs import check_output

    if result.changes:
        check_output(result.file)  # a run's own text stays as it was trained
        with atomic_write(result.file, replaces_model=True) as draft:
            draft.write_bytes(result.after.encode())


def _print(results: list[_Formatted], failures: int, only_check: bool, as_diff: bool, quiet: bool) -> None:
    changed = [result for result in results if result.changes]
    if as_diff:
        for result in changed:
            click.echo(encodable(_diff(result, wants_color(sys.stdout)), sys.stdout), nl=False, color=True)
    elif any(result.file == STDIN for result in results) and not only_check:
        click.echo(encodable(results[0].after, sys.stdout), nl=False)
        return
    elif only_check:
        for result in changed:
            click.echo(f"would change: {result.file}")
    verb = "would change" if only_check or as_diff else "changed"
    if not results:
        note(f"no file {verb}", quiet)
        return
    count = len(results) + failures
    refused = f"; {failures} could not be formatted" if failures else ""
    note(f"{len(changed)} of {count} file{'s' * (count != 1)} {verb}{refused}", quiet)


def _diff(result: _Formatted, in_color: bool) -> str:
    """The changes as a unified diff."""
    before, after = result.before.splitlines(), result.after.splitlines()
    lines = unified_diff(before, after, str(result.file), str(result.file), lineterm="")
    text = []
    for line in lines:
        color = next((color for start, color in _COLORS.items() if line.startswith(start)), None)
        text.append(f"\033[{color}m{line}\033[0m\n" if in_color and color is not None else f"{line}\n")
    return "".join(text)

"""`nablac check`: every mistake in a file, at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nablac.commands.options import output_options
from nablac.commands.output import detail, note, print_json, show_error

if TYPE_CHECKING:
    from compiler.build import Program


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--gradients", is_flag=True, help="Compare each model's gradients with central differences, in f64.")
@output_options
def command(files: tuple[Path, ...], gradients: bool, as_json: bool, quiet: bool) -> int:
    """Check .model files: names, shapes, dtypes, training blocks. A folder stands for the .model files in it."""
    from compiler.build import check, load, program_of
    from grammar.diagnostics import NablacError
    from grammar.source import Source

    errors: list[NablacError] = []
    count, passed = 0, True
    for file in _expanded(files):
        count += 1
        try:
            if str(file) == "-":
                program = program_of(Source("<stdin>", sys.stdin.read()))
            else:
                program = load(file)
            check(program)
            if gradients:
                passed = _gradients(program, as_json) and passed
            detail(f"{file}: {', '.join(f'{each.kind} {each.name}' for each in program.definitions.values())}")
        except NablacError as error:
            errors.append(error)
    everything = NablacError(*(each for error in errors for each in error.diagnostics))
    if as_json:
        print_json({"files": count, "errors": [each.to_json() for each in everything.diagnostics]})
    elif errors:
        show_error(everything)
    else:
        note(f"{count} file{'s' * (count != 1)} checked, no errors", quiet)
    return everything.exit_code if errors else int(not passed)


def _gradients(program: Program, as_json: bool) -> bool:
    """Whether every trained model's gradients are right; a line for each parameter whose are not."""
    from runtime.gradient_check import check_gradients

    passed = True
    for train in program.trains:
        rows = check_gradients(program, train.model.text)
        wrong = [row for row in rows if not row.passed]
        worst = max(rows, key=lambda row: row.error)
        passed = passed and not wrong
        if not as_json:
            click.echo(f"{train.model.text}: {len(rows)} gradients, worst relative difference {worst.error:.1e}")
        for row in wrong:
            click.echo(f"  `{row.name}`: {row.symbolic:.6g}, and {row.numeric:.6g} by central differences")
    return passed


def _expanded(files: tuple[Path, ...]) -> list[Path]:
    found: list[Path] = []
    for file in files:
        found.extend(sorted(file.rglob("*.model")) if str(file) != "-" and file.is_dir() else [file])
    return found

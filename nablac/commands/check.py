"""`nablac check`: every mistake in a file, at once."""

from __future__ import annotations

from pathlib import Path

import click

from nablac.commands.options import output_options
from nablac.commands.output import detail, note, print_json, show_error


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@output_options
def command(files: tuple[Path, ...], as_json: bool, quiet: bool) -> int:
    """Check .model files: names, shapes, dtypes, training blocks. A folder stands for the .model files in it."""
    from compiler.build import check, load, program_of
    from grammar.diagnostics import NablacError
    from grammar.source import Source

    errors: list[NablacError] = []
    count = 0
    for file in _expanded(files):
        count += 1
        try:
            if str(file) == "-":
                program = program_of(Source("<stdin>", click.get_text_stream("stdin").read()))
            else:
                program = load(file)
            check(program)
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
    return everything.exit_code if errors else 0


def _expanded(files: tuple[Path, ...]) -> list[Path]:
    found: list[Path] = []
    for file in files:
        found.extend(sorted(file.rglob("*.model")) if str(file) != "-" and file.is_dir() else [file])
    return found

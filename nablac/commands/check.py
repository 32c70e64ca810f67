"""`nablac check`: every mistake in a file, at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grammar import codes
from nablac.commands.options import output_options
from nablac.commands.output import detail, note, print_json, show_error
from nablac.commands.runs import is_run
from runtime.training.program_texts import SPEC

if TYPE_CHECKING:
    from compiler.elaborate.program import Program
    from runtime.gradient_check import GradientRow


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--gradients", is_flag=True, help="Compare each model's gradients with central differences, in f64.")
@click.option("--preset", help="A preset of the model, for --gradients.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A hyperparameter, for --gradients.")
@output_options
def command(
    files: tuple[Path, ...],
    gradients: bool,
    preset: str | None,
    settings: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Check .model files: names, shapes, dtypes, training blocks. A folder stands for the .model files in it.

    The folder of a run stands for its own text, and its gradients are those of the model that was trained.
    """
    if (preset or settings) and not gradients:
        raise click.UsageError("--preset and --set need --gradients; without it every preset and size is checked")
    from compiler.elaborate.checking import check
    from compiler.elaborate.model_choice import check_declarations
    from compiler.elaborate.program import load, program_of
    from grammar.diagnostics import Diagnostic, NablacError
    from grammar.source import Source

    errors: list[NablacError] = []
    count = 0
    compared: dict[str, list[GradientRow]] = {}
    for file, run in _expanded(files):
        count += 1
        try:
            if str(file) != "-" and file.is_dir():
                raise NablacError(Diagnostic(codes.E911, "there is no `.model` file in this folder", place=str(file)))
            if str(file) == "-":
                program = program_of(Source("<stdin>", sys.stdin.read()))
            else:
                program = load(file)
            check(program)
            check_declarations(program)
            if gradients:
                compared |= _gradients(program, preset, settings, run, quiet or as_json)
            detail(f"{file}: {', '.join(f'{each.kind} {each.name}' for each in program.definitions.values())}")
        except NablacError as error:
            errors.append(error)
    everything = NablacError(*(each for error in errors for each in error.diagnostics))
    wrong = [row for rows in compared.values() for row in rows if not row.passed]
    if as_json:
        shown = {name: [{**vars(row), "passed": row.passed} for row in rows] for name, rows in compared.items()}
        facts = {"files": count, "errors": [each.to_json() for each in everything.diagnostics]}
        print_json({**facts, "gradients": shown} if gradients else facts)
    elif errors:
        show_error(everything)
    elif wrong:
        several = len({row.name for row in wrong}) != 1
        subject = f"{len({row.name for row in wrong})} gradients differ" if several else "1 gradient differs"
        note(f"{subject} from central differences")
    else:
        note(f"{count} file{'s' * (count != 1)} checked, no errors", quiet)
    return everything.exit_code if errors else int(bool(wrong))


def _gradients(
    program: Program, preset: str | None, settings: tuple[str, ...], run: Path | None, silent: bool
) -> dict[str, list[GradientRow]]:
    """The gradients of every model with a train block; a line for each, and for each parameter whose are wrong.

    Of a `run` they are those of the sizes that it has, but for what is asked for.
    """
    from compiler.elaborate.presets import parse_settings
    from runtime.gradient_check import check_gradients

    hypers = parse_settings(settings)
    if run is not None:
        from runtime.training.run_record import read_record

        choices = read_record(run).choices
        preset, hypers = preset or choices.preset, parse_settings(choices.set) | hypers
    found: dict[str, list[GradientRow]] = {}
    if not program.trains:
        note(f"{program.source.name} has no train block: there is no loss to differentiate")
    for train in program.trains:
        name = train.model.text
        rows = found[name] = check_gradients(program, name, preset=preset, hypers=hypers)
        if silent:
            continue
        worst = max(rows, key=lambda row: row.error)
        count = len({row.name for row in rows})
        click.echo(f"{name}: {count} gradients, worst relative difference {worst.error:.1e}")
        for row in rows:
            if not row.passed:
                how = f"beside {row.point}" if row.point else "by central differences"
                click.echo(f"  `{row.name}`: {row.symbolic:.6g}, and {row.numeric:.6g} {how}")
    return found


def _expanded(files: tuple[Path, ...]) -> list[tuple[Path, Path | None]]:
    """The files, with those in a folder in its place, and each with its run; a folder without any stands for itself."""
    expanded: list[tuple[Path, Path | None]] = []
    for file in files:
        if str(file) == "-" or not file.is_dir():
            expanded.append((file, None))
        elif is_run(file):
            expanded.append((file / SPEC, file))
        else:
            inside = sorted(path for path in file.rglob("*.model") if not path.is_dir())
            expanded += [(path, None) for path in inside or [file]]
    return expanded

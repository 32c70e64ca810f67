"""`nablac check`: all errors of a file at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, TypedDict

import click

from compiler.elaborate.program_texts import SPEC
from grammar.diagnostics import Diagnostic, DiagnosticJson, NablacError
from nablac.commands.model_files import STDIN, models_in, read_standard_input
from nablac.commands.model_options import is_run_folder
from nablac.commands.named_models import ModelFile, names_in_file
from nablac.commands.options import output_options
from nablac.commands.output import detail, note, print_json, show_error, stage

if TYPE_CHECKING:
    from compiler.elaborate.program import Program
    from runtime.gradient_check import GradientRow


class GradientJson(TypedDict):
    """The derivative of the loss along a random direction of one tensor."""

    name: Annotated[str, "of a parameter or an input"]
    symbolic: Annotated[float, "by the gradient that the compiler derives"]
    numeric: Annotated[float, "by central differences, in f64"]
    error: Annotated[float, "their relative difference"]
    point: Annotated[str, "the edge case; empty at the random point"]
    passed: Annotated[bool, "whether both agree"]


class CheckJson(TypedDict):
    """What `nablac check` has found. The exit status is 1 if there are errors, or if a gradient does not pass."""

    files: Annotated[int, "how many were read"]
    errors: Annotated[list[DiagnosticJson], "mistakes"]
    warnings: Annotated[list[DiagnosticJson], "what is allowed, but seldom meant"]
    gradients: NotRequired[Annotated[dict[str, list[GradientJson]], "with `--gradients`, by model"]]


def _row_to_json(row: GradientRow) -> GradientJson:
    return {
        "name": row.name,
        "symbolic": row.symbolic,
        "numeric": row.numeric,
        "error": row.error,
        "point": row.point,
        "passed": row.passed,
    }


@click.command()
@click.argument("files", nargs=-1, required=True, type=ModelFile())
@click.option("--gradients", is_flag=True, help="Also compare each model's gradients with central differences, in f64.")
@click.option(
    "--preset",
    metavar="NAME",
    shell_complete=names_in_file("preset"),
    help="Use a preset of the model; requires --gradients.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    shell_complete=names_in_file("set"),
    help="Set a hyperparameter; requires --gradients. Can be repeated.",
)
@output_options
def command(
    files: tuple[Path, ...],
    gradients: bool,
    preset: str | None,
    settings: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Check .model files for errors.

    Reports all errors in names, shapes, dtypes and train blocks at once. A folder stands for all .model files in
    it, - for standard input, and the folder of a run for its own model and hyperparameters. Warnings say what is
    allowed, but seldom meant; a comment `# nablac: allow W201` in the file allows one.

    \b
    Example:
      nablac check lstm
    """
    if (preset or settings) and not gradients:
        raise click.UsageError("--preset and --set need --gradients; without it every preset and size is checked")
    from compiler.elaborate.checking import check
    from compiler.elaborate.model_choice import check_declarations
    from compiler.elaborate.presets import parse_settings
    from compiler.elaborate.program import load, program_of
    from compiler.lints.linting import warnings_of

    errors: list[NablacError] = []
    warnings: list[Diagnostic] = []
    count = 0
    compared: dict[str, list[GradientRow]] = {}
    for file, run in _expand(files, errors):
        count += 1
        try:
            with stage(f"{file}: read"):
                program = program_of(read_standard_input()) if file == STDIN else load(file)
            chosen, own = _choices_of(run) if run is not None else (None, {})
            with stage(f"{file}: checked"):
                elaborated = check(program, hypers=own if len(program.models) == 1 else None)
                check_declarations(program)
                if run is None:
                    warnings += warnings_of(program, elaborated)
            if gradients:
                hypers = own | parse_settings(settings)
                compared |= _gradients(program, preset or chosen, hypers, quiet or as_json)
            detail(f"{file}: {', '.join(f'{item.kind} {item.name}' for item in program.definitions.values())}")
        except NablacError as error:
            errors.append(error)
    combined = NablacError(*(diagnostic for error in errors for diagnostic in error.diagnostics))
    failed = [row for rows in compared.values() for row in rows if not row.passed]
    if as_json:
        facts = CheckJson(
            files=count,
            errors=[diagnostic.to_json() for diagnostic in combined.diagnostics],
            warnings=[diagnostic.to_json() for diagnostic in warnings],
        )
        if gradients:
            facts["gradients"] = {name: list(map(_row_to_json, rows)) for name, rows in compared.items()}
        print_json(facts)
    elif warnings and not quiet:
        show_error(NablacError(*warnings))
    if as_json:
        pass
    elif errors:
        show_error(combined)
    elif failed:
        number = len({row.name for row in failed})
        subject = f"{number} gradients differ" if number != 1 else "1 gradient differs"
        note(f"{subject} from central differences")
    else:
        note(f"{count} file{'s' * (count != 1)} checked, no errors{_number_of(warnings)}", quiet)
    return combined.exit_code if errors else int(bool(failed))


def _number_of(warnings: list[Diagnostic]) -> str:
    return f", {len(warnings)} warning{'s' * (len(warnings) != 1)}" if warnings else ""


def _choices_of(run: Path) -> tuple[str | None, dict[str, Any]]:
    """The preset and the hyperparameters of a run."""
    from compiler.elaborate.presets import parse_settings
    from runtime.training.run_record import read_record

    choices = read_record(run).choices
    return choices.preset, parse_settings(choices.set)


def _gradients(
    program: Program, preset: str | None, hypers: Mapping[str, Any], silent: bool
) -> dict[str, list[GradientRow]]:
    """Check the gradients of every model with a train block; prints a line for each model and each wrong gradient."""
    from runtime.gradient_check import check_gradients

    rows_by_model: dict[str, list[GradientRow]] = {}
    if not program.trains:
        note(f"{program.source.name} has no train block: there is no loss to differentiate")
    for train in program.trains:
        name = train.model.text
        rows = rows_by_model[name] = check_gradients(program, name, preset=preset, hypers=hypers)
        if silent:
            continue
        worst = max(rows, key=lambda row: row.error)
        count = len({row.name for row in rows})
        click.echo(f"{name}: {count} gradients, worst relative difference {worst.error:.1e}")
        for row in rows:
            if not row.passed:
                source = f"near {row.point}" if row.point else "by central differences"
                click.echo(f"  `{row.name}`: {row.symbolic:.6g}, expected {row.numeric:.6g} {source}")
    return rows_by_model


def _expand(files: tuple[Path, ...], errors: list[NablacError]) -> list[tuple[Path, Path | None]]:
    """The files, each with the run that it belongs to; a folder is replaced by its .model files."""
    expanded: list[tuple[Path, Path | None]] = []
    for file in files:
        if file != STDIN and is_run_folder(file):
            expanded.append((file / SPEC, file))
            continue
        try:
            inside = models_in(file) if file != STDIN and file.is_dir() else [file]
            expanded += [(path, None) for path in inside]
        except NablacError as error:
            errors.append(error)
    return expanded

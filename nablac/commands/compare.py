"""`nablac compare`: the differences between runs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nablac.commands.completions import RunPath
from nablac.commands.option_types import NamedPath
from nablac.commands.options import output_options
from nablac.commands.output import encodable, note, print_json, stage, wants_color

if TYPE_CHECKING:
    from nablac.run_comparison import Comparison


@click.command()
@click.argument("runs", nargs=-1, type=RunPath(), metavar="RUN...")
@click.option("--report", type=NamedPath(), metavar="FILE", help="Write a page with curves to this .html file.")
@output_options
def command(runs: Sequence[Path], report: Path | None, as_json: bool, quiet: bool) -> int:
    """Compare runs.

    Shows the settings that differ, and every quantity in the best epoch of each run, by the quantity that it monitors.

    \b
    Example:
      nablac train forecaster --epochs 3
      nablac train forecaster --epochs 3 --set layer=GRU
      nablac compare runs/forecaster/*
    """
    from nablac.comparison_table import render_comparison
    from nablac.run_comparison import compare_runs

    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"`--report {report}` is an HTML file: name it {report.with_suffix('.html')}")
    folders = list({folder.resolve(): folder for folder in runs}.values())
    if len(folders) < 2:
        named = "one run is named twice" if len(runs) > 1 else "one is named" if runs else "none is named"
        raise click.UsageError(f"compare takes two runs or more, and {named}")
    with stage("runs read"):
        comparison = compare_runs(folders)
    for text in comparison.notes:
        note(f"note: {text}", quiet)
    if report is not None:
        with stage("page written"):
            _write_report(report, comparison)
    if as_json:
        print_json(comparison.to_json())
    else:
        color = wants_color(sys.stdout)
        text = render_comparison(comparison, shutil.get_terminal_size().columns, color=color)
        click.echo(encodable(text, sys.stdout), color=color)
    if report is not None:
        note(f"wrote {report}", quiet)
    return 0


def _write_report(path: Path, comparison: Comparison) -> None:
    import nablac
    from nablac.comparison_page import comparison_page
    from runtime.atomic_files import write_bytes

    write_bytes(path, comparison_page(comparison, f"nablac {nablac.__version__}").encode())

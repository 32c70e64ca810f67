"""The files of a report: a page to look at, and the same figures as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nablac.commands.output import json_text

PAGE, FIGURES = "report.html", "report.json"


def check_report(folder: Path, reads: Iterable[Path]) -> None:
    """NablacError where a report in a folder would take the place of something else."""
    from grammar import codes
    from grammar.diagnostics import Diagnostic, NablacError
    from runtime.outputs import check_output

    if folder.exists() and not folder.is_dir():
        message = f"{folder} is a file, and a report is a folder with {PAGE} and {FIGURES}"
        raise NablacError(Diagnostic(codes.E904, message, place=str(folder), hint="name another folder"))
    read = list(reads)
    for name in (PAGE, FIGURES):
        check_output(folder / name, reads=read, creates_folder=True)


def write_report(folder: Path, html: str, facts: dict[str, Any]) -> None:
    """Write the page and the figures into a folder, which is made where it is missing; Unwritable if it cannot be."""
    from runtime.atomic_files import refused_for, write_bytes

    with refused_for(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / PAGE, html.encode())
    write_bytes(folder / FIGURES, (json_text(facts) + "\n").encode())


def footer(file: Path) -> str:
    """Who wrote the report, and of what."""
    import nablac

    return f"nablac {nablac.__version__}, eval {file}"

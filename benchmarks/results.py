"""Rows of all tables, how they are printed, and the JSON file with the machine, the versions and the date."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.measuring import Figure

PACKAGES = (
    "nablac", "numpy", "onnx", "onnxruntime", "torch", "onnxscript", "onnxsim", "onnxslim", "onnx-ad", "keras", "jax",
    "transformers", "numba", "neuralforecast", "darts",
)  # fmt: skip
ROOT = Path(__file__).parents[1]


@dataclass
class Row:
    """One quantity of one case for all contenders; the less of it, the better."""

    table: str
    case: str
    measure: str  # with its unit
    figures: dict[str, Figure] = field(default_factory=dict)  # by contender, in the unit of the measure
    notes: dict[str, str] = field(default_factory=dict)  # by contender: why it has no figure
    reference: str | None = None  # our column that peers are compared with; by default the best one

    @property
    def key(self) -> str:
        """The name of the row in the history."""
        return f"{self.table} | {self.case} | {self.measure}"

    @property
    def ours(self) -> str | None:
        """Our column that peers are compared with."""
        if self.reference is not None:
            return self.reference if self.reference in self.figures else None
        own = [name for name in self.figures if is_ours(name)]
        return min(own, key=lambda name: self.figures[name].median) if own else None

    def ratios(self) -> dict[str, float]:
        """Each peer's figure divided by ours: above 1 we are ahead."""
        if self.ours is None:
            return {}
        own = self.figures[self.ours].median
        peers = {name: figure for name, figure in self.figures.items() if not is_ours(name)}
        return {name: figure.median / own if own else float("inf") for name, figure in peers.items()}


def is_ours(name: str) -> bool:
    """Whether a column is ours: its name begins with our name."""
    return name.split()[0] == "nablac"


def lines_of(row: Row) -> Iterable[str]:
    """A row as text: figures with their spread, and the ratio to ours."""
    ratios = row.ratios()
    yield f"{row.case}, {row.measure}"
    for name, figure in row.figures.items():
        shown = f"{figure.median:12.4g}" if figure.median < 1e4 else f"{figure.median:12.0f}"
        spread = f"+-{figure.spread / 2:5.1%}" if figure.runs > 1 else " " * 7
        ratio = f"  {ratios[name]:6.2f} of ours" if name in ratios else "  <- ours" if name == row.ours else ""
        yield f"    {name:<34}{shown} {spread}{ratio}"
    for name, note in row.notes.items():
        yield f"    {name:<34}  {note}"


def document(rows: Iterable[Row], date: datetime | None = None) -> dict[str, Any]:
    """Everything that the JSON file has."""
    return {
        "date": (date or datetime.now(UTC)).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": machine(),
        "versions": versions(),
        "rows": [asdict(row) | {"ours": row.ours, "ratios": row.ratios()} for row in rows],
    }


def write(path: Path, document: dict[str, Any]) -> None:
    """Write the JSON file."""
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def machine() -> dict[str, Any]:
    """The processor, what it is shared with, and the system."""
    try:
        match = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    except OSError:
        match = None
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "processor": match[1] if match else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    """The versions of what is compared, as far as it is installed."""
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def _commit() -> str | None:
    try:
        command = ["git", "describe", "--always", "--dirty"]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None

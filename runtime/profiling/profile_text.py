"""A profile as text, as JSON, and as a page to look at."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Annotated, Any, TypedDict

from runtime.charts.flames import flame_graph
from runtime.charts.page import Facts, Figures, Paragraph, Section, Table, page
from runtime.charts.readable_numbers import prefixed
from runtime.profiling.grouping import (
    BACKEND_NAMES,
    MOST,
    ProfileRowJson,
    Row,
    by_layer,
    by_line,
    by_operator,
    flames,
    slowest_of_tree,
)
from runtime.profiling.timing import Kind, Profile, TimingJson

_HEADER = ("ms", "share", "own ms", "calls", "GFLOP/s")
_MUCH_SLOWER = 1.25  # times an unprofiled run: the times of a profile are then far from its
_LONGEST = 60  # letters of a name or a line


class ProfileJson(TypedDict):
    """Where the time of a model goes. The rows of each table add up to `seconds`."""

    model: Annotated[str, "its name"]
    what: Annotated[str, "`inference` or `training step`"]
    backend: Annotated[str, "`numpy` or `ort`"]
    device: Annotated[str, "`cpu` or `cuda`"]
    sizes: Annotated[dict[str, int], "of the named dims"]
    runs: Annotated[list[float], "the seconds of each run"]
    seconds: Annotated[float, "of an average of the faster half of the runs, which all tables are of"]
    median: Annotated[float, "seconds of all runs"]
    unprofiled: Annotated[list[float], "the seconds of runs without the profiler"]
    slowdown: Annotated[float | None, "how many times as long a profiled run takes"]
    flops: Annotated[int, "floating-point operations of a run"]
    layers: Annotated[list[ProfileRowJson], "the tree of layers, in which a row includes those inside it"]
    lines: Annotated[list[ProfileRowJson], "by line of the text"]
    operators: Annotated[list[ProfileRowJson], "by kind of operator"]
    timings: Annotated[list[TimingJson], "all that was measured"]


class ModelProfile(Profile):
    """A profile that shows itself: printed, as the tables of `nablac profile`."""

    def __str__(self) -> str:
        return profile_text(self)

    def __repr__(self) -> str:
        return f"<ModelProfile of {self.name}: {self.what}, {_spread(self.runs)}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython and notebooks show: the tables."""
        printer.text(str(self).rstrip("\n"))

    def to_json(self) -> ProfileJson:
        """Everything that was measured, as `nablac profile --json` prints it."""
        return profile_json(self)

    def html(self, footer: str = "") -> str:
        """A page with a flame graph and the tables."""
        return profile_page(self, footer)


def profile_json(profile: Profile) -> ProfileJson:
    """Everything that was measured, as `nablac profile --json` prints it; times are seconds."""
    total = profile.seconds
    return {
        "model": profile.name,
        "what": profile.what,
        "backend": profile.backend,
        "device": profile.device,
        "sizes": dict(profile.sizes),
        "runs": list(profile.runs),
        "seconds": total,
        "median": profile.median,
        "unprofiled": list(profile.unprofiled),
        "slowdown": profile.slowdown,
        "flops": profile.flops,
        "layers": [row.to_json("layer", total) for row in by_layer(profile)],
        "lines": [row.to_json("line", total) for row in by_line(profile)],
        "operators": [row.to_json("operator", total) for row in by_operator(profile)],
        "timings": [timing.to_json() for timing in profile.timings],
    }


def profile_text(profile: Profile) -> str:
    """What was measured, and the first rows of the three tables."""
    tables = [_aligned(header, rows, more) for header, rows, more in _tables(profile)]
    return "\n\n".join(["\n".join([_headline(profile), _measured(profile), *_unprofiled(profile)]), *tables])


def _headline(profile: Profile) -> str:
    sizes = ", ".join(f"{name}={size}" for name, size in profile.sizes.items())
    where = BACKEND_NAMES[profile.backend] + (f" on {profile.device}" if profile.device != "cpu" else "")
    return f"{profile.name}: {profile.what} with {where}" + (f" at {sizes}" if sizes else "")


def _measured(profile: Profile) -> str:
    runs = f"{len(profile.runs)} run{'s' if len(profile.runs) != 1 else ''}"
    below = "below is the average of the faster half"
    return f"{runs}: {_spread(profile.runs)}; {below}; {prefixed(profile.flops)}FLOP in a run"


def _spread(runs: Sequence[float]) -> str:
    fastest, slowest = (f"{seconds * 1000:.3g}" for seconds in (min(runs), max(runs)))
    return f"median {median(runs) * 1000:.3g} ms, {fastest} to {slowest}"


def _unprofiled(profile: Profile) -> list[str]:
    """The times without the profiler, and what they say of the profile's."""
    if profile.slowdown is None:
        return []
    lines = [f"without the profiler: {_spread(profile.unprofiled)}"]
    if profile.slowdown > _MUCH_SLOWER:
        clock = "onnxruntime's profiler" if profile.backend == "ort" else "a clock"
        longer = f"{profile.slowdown:.1f} times as long"
        lines += [
            f"note: a profiled run takes {longer}: {clock} adds to each call of an operator,",
            "      so that many small ones have too large a share below",
        ]
    return lines


def _tables(profile: Profile) -> list[tuple[tuple[str, ...], list[tuple[str, ...]], int]]:
    """Each table as a header, rows of texts, and how many more there are."""
    layers, lines, operators = by_layer(profile), by_line(profile), by_operator(profile)
    total = profile.seconds
    return [
        (
            ("layer", *_HEADER),
            [(_layer_name(row, profile), *_cells(row, total)) for row in slowest_of_tree(layers)],
            len(layers) - MOST,
        ),
        (
            ("line", *(name for name in _HEADER if name != "own ms"), "text"),
            [(row.name, *_cells(row, total, own=False), _shortened(row.text)) for row in lines[:MOST]],
            len(lines) - MOST,
        ),
        (
            ("operator", "ms", "share", "calls"),
            [(_shortened(row.name), *_cells(row, total, own=False)[:3]) for row in operators[:MOST]],
            len(operators) - MOST,
        ),
    ]


def _layer_name(row: Row, profile: Profile) -> str:
    if row.kind is not Kind.OPERATOR:
        return row.name
    if not row.name:
        return profile.name
    return "  " * (row.name.count(".") + 1) + row.name.rpartition(".")[2]


def _cells(row: Row, total: float, own: bool = True) -> tuple[str, ...]:
    rate = f"{row.rate / 1e9:.2f}" if row.rate is not None and row.rate >= 1e7 else ""
    share = f"{row.seconds / total:.1%}" if total else ""
    times = (_milliseconds(row.seconds), share, *([_milliseconds(row.own)] if own else []))
    return (*times, f"{row.calls:,.5g}" if row.calls else "", rate)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.3f}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]], more: int) -> str:
    """Columns of text, numbers at the right: the first column and `text` are no numbers."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    left = [column == 0 or name == "text" for column, name in enumerate(header)]
    lines = [
        "  ".join(
            cell.ljust(width) if at_left else cell.rjust(width)
            for cell, width, at_left in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in (header, *rows)
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    if more > 0:
        lines.append(f"and {more:,} more: --json lists all")
    return "\n".join(lines)


def profile_page(profile: Profile, footer: str = "") -> str:
    """The profile as an HTML page with a flame graph."""
    by_kind = {kind: sum(timing.seconds for timing in profile.timings if timing.kind is kind) for kind in Kind}
    inside = profile.seconds - by_kind[Kind.OUTSIDE]
    facts: list[tuple[str, str] | tuple[str, str, str]] = [
        ("a run", f"{profile.seconds * 1000:.3g} ms", f"average of the faster half of {len(profile.runs)} runs"),
        ("in operators", f"{inside / profile.seconds:.1%}", "the rest is the backend's own work"),
        ("operations", f"{prefixed(profile.flops)}FLOP", f"{profile.flops / profile.seconds / 1e9:.3g} GFLOP/s"),
    ]
    if profile.unprofiled:
        without = f"{median(profile.unprofiled) * 1000:.3g} ms"
        facts.insert(1, ("not profiled", without, "median of a run without the profiler, which takes time itself"))
    note = "width is time; under each layer the layers and operators in it, the slowest first"
    quiet = "Times are averages over the faster half of the runs; own time is without that of layers inside."
    flame = Figures([flame_graph("Flame graph", flames(profile), note=note)])
    sections = [Section("Time by layer", [Facts(facts), flame, Paragraph(quiet, quiet=True)])]
    for title, (header, rows, more) in zip(("Layers", "Lines", "Operators"), _tables(profile), strict=True):
        caption = f"the {MOST} slowest of {MOST + more:,}" if more > 0 else ""
        sections.append(Section(title, [Table(header, [[_indented(row[0]), *row[1:]] for row in rows], caption)]))
    return page(f"Profile of {profile.name}", sections, subtitle=_headline(profile), footer=footer)


def _indented(name: str) -> str:
    """A name whose indentation HTML keeps."""
    stripped = name.lstrip(" ")
    return "\u00a0" * (2 * (len(name) - len(stripped))) + stripped

"""The times of a profile by layer, by line and by operator. The rows of each table add up to a whole run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, NotRequired, TypedDict, cast

from runtime.charts.flames import Flame
from runtime.profiling.timing import Kind, Profile, Timing

MOST = 20  # rows of a table for people
_KINDS = {Kind.FUSED: "fused or added by {backend}", Kind.OUTSIDE: "outside of operators"}
BACKEND_NAMES = {"numpy": "NumPy", "ort": "onnxruntime"}


class ProfileRowJson(TypedDict):
    """A row of a table of times; it has the one of the first three keys that the table is about."""

    layer: NotRequired[Annotated[str, "the path of a layer; empty for the whole run"]]
    line: NotRequired[Annotated[str, "a line, or lines whose operators run as one, as `file:line`"]]
    operator: NotRequired[Annotated[str, "a kind of operator"]]
    kind: Annotated[str, "`operator`, `fused` or `outside`, as in `timings`"]
    seconds: Annotated[float, "of a run"]
    own_seconds: Annotated[float, "without those of the layers inside"]
    share: Annotated[float, "of the run, from 0 to 1"]
    calls: Annotated[float, "in a run"]
    flops: Annotated[int | None, "floating-point operations of a run, where they are known"]
    text: NotRequired[Annotated[str, "of the lines, in a row of `lines`"]]


@dataclass
class Row:
    """One row of a table; `own` seconds are without those of the rows below it in a tree.

    `flops` are None where those of the row's operators are not known.
    """

    name: str
    own: float = 0.0
    calls: float = 0.0
    flops: int | None = None
    seconds: float = 0.0
    text: str = ""
    kind: Kind = Kind.OPERATOR

    @property
    def rate(self) -> float | None:
        """Floating-point operations in a second."""
        return self.flops / self.seconds if self.flops and self.seconds > 0 else None

    def to_json(self, name: Literal["layer", "line", "operator"], total: float) -> ProfileRowJson:
        """As `nablac profile --json` prints it, with its name under a key that says what it is."""
        row = {
            name: self.name,
            "kind": str(self.kind),
            "seconds": self.seconds,
            "own_seconds": self.own,
            "share": self.seconds / total if total else 0.0,
            "calls": self.calls,
            "flops": self.flops,
        }
        return cast("ProfileRowJson", {**row, "text": self.text} if name == "line" else row)


def by_layer(profile: Profile) -> list[Row]:
    """The tree of layers in preorder, the slowest of siblings first; the first row is the run itself, with no name.

    After the layers come the times that belong to none.
    """
    rows: dict[str, Row] = {"": Row("")}
    apart: dict[Kind, Row] = {}
    for timing in profile.timings:
        if timing.kind is not Kind.OPERATOR:
            _add(apart.setdefault(timing.kind, _row_of(timing, profile)), timing)
            continue
        for path in with_parents(timing.layer):
            rows.setdefault(path, Row(path)).seconds += timing.seconds
        row = rows[timing.layer]
        row.own, row.calls = row.own + timing.seconds, row.calls + timing.calls
    for path, flops in profile.flops_of_layers.items():
        for parent in with_parents(path):
            if parent in rows:
                rows[parent].flops = (rows[parent].flops or 0) + flops
    rows[""].seconds += sum(row.seconds for row in apart.values())
    return [*_preorder(rows), *apart.values()]


def _preorder(rows: Mapping[str, Row]) -> list[Row]:
    children: dict[str, list[Row]] = {}
    for path, row in rows.items():
        if path:
            children.setdefault(path.rpartition(".")[0], []).append(row)
    ordered, waiting = list[Row](), [rows[""]]
    while waiting:
        row = waiting.pop()
        ordered.append(row)
        waiting += sorted(children.get(row.name, []), key=lambda child: child.seconds)
    return ordered


def by_line(profile: Profile) -> list[Row]:
    """A row for each line, or for lines whose operators run as one, the slowest first.

    Operations are counted where each operator of a line has a time of its own.
    """
    rows: dict[str, Row] = {}
    shared: set[str] = set()
    for timing in profile.timings:
        name = joined_lines(timing.lines) if timing.kind is Kind.OPERATOR else _row_of(timing, profile).name
        _add(rows.setdefault(name, _named(name, timing, profile)), timing)
        if len(timing.lines) > 1:
            shared.update(timing.lines)
    for name, row in rows.items():
        if name in profile.flops_of_lines and name not in shared and profile.backend == "numpy":
            row.flops = profile.flops_of_lines[name]
    return _slowest_first(rows.values())


def _named(name: str, timing: Timing, profile: Profile) -> Row:
    texts = [profile.texts.get(line, "").strip() for line in timing.lines]
    return Row(name, kind=timing.kind, text="; ".join(text for text in texts if text))


def by_operator(profile: Profile) -> list[Row]:
    """A row for each kind of operator, the slowest first; operators that run as one are a kind of their own."""
    rows: dict[tuple[Kind, str], Row] = {}
    for timing in profile.timings:
        row = _row_of(timing, profile)
        if timing.kind is not Kind.OUTSIDE:
            mark = f" ({row.name})" if timing.kind is Kind.FUSED else ""
            row.name = timing.operator + mark
        _add(rows.setdefault((timing.kind, timing.operator), row), timing)
    return _slowest_first(rows.values())


def _row_of(timing: Timing, profile: Profile) -> Row:
    name = _KINDS[timing.kind].format(backend=BACKEND_NAMES[profile.backend]) if timing.kind in _KINDS else ""
    return Row(name, kind=timing.kind)


def _add(row: Row, timing: Timing) -> None:
    row.own, row.seconds, row.calls = row.own + timing.seconds, row.seconds + timing.seconds, row.calls + timing.calls


def _slowest_first(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -row.seconds)


def joined_lines(lines: Iterable[str]) -> str:
    """Lines as `file:line`, those of one file together: `file:3,5`; of none, where they are not known."""
    files: dict[str, list[str]] = {}
    for line in lines:
        file, _, number = line.rpartition(":")
        files.setdefault(file, []).append(number)
    return ", ".join(f"{file}:{','.join(numbers)}" for file, numbers in files.items()) or "no line"


def with_parents(path: str) -> list[str]:
    """The paths of the model, of each layer around the one at `path`, and `path` itself."""
    parts = path.split(".") if path else []
    return [".".join(parts[:end]) for end in range(len(parts) + 1)]


def slowest_of_tree(rows: list[Row], most: int = MOST) -> list[Row]:
    """The rows of a tree with the longest times, in their order: a row is never without those around it."""
    kept = sorted(range(len(rows)), key=lambda index: (-rows[index].seconds, index))[:most]
    return [rows[index] for index in sorted(kept)]


def flames(profile: Profile) -> Flame:
    """The tree of layers, with the operators in each as its leaves."""
    total = profile.seconds
    rows = {row.name: row for row in by_layer(profile) if row.kind is Kind.OPERATOR}
    parts: dict[str, list[Flame]] = {path: [] for path in rows}
    leaves: dict[tuple[str, Kind, str], list[Timing]] = {}
    for timing in profile.timings:
        leaves.setdefault((timing.layer, timing.kind, timing.operator), []).append(timing)
    for (layer, kind, operator), timings in leaves.items():
        seconds = sum(timing.seconds for timing in timings)
        lines = dict.fromkeys(line for timing in timings for line in timing.lines)
        name = operator if kind is Kind.OPERATOR else _row_of(timings[0], profile).name
        where = f" at {joined_lines(lines)}" if lines else ""
        parts[layer].append(Flame(name, seconds, _tip(name + where, seconds, total), leaf=kind is Kind.OPERATOR))
    for path in sorted(rows, key=lambda path: -path.count(".")):
        if path:
            seconds = rows[path].seconds
            flame = Flame(path.rpartition(".")[2], seconds, _tip(path, seconds, total), tuple(parts[path]))
            parts[path.rpartition(".")[0]].append(_without_single_part(flame))
    return Flame(profile.name, total, _tip(profile.name, total, total), tuple(parts[""]))


def _without_single_part(flame: Flame) -> Flame:
    """A layer that only groups one other, as a loop over blocks, in one slice with it."""
    if len(flame.parts) != 1 or flame.parts[0].leaf:
        return flame
    (part,) = flame.parts
    return Flame(f"{flame.name}.{part.name}", part.amount, part.tip, part.parts)


def _tip(name: str, seconds: float, total: float) -> str:
    share = seconds / total if total else 0.0
    return f"{name}: {seconds * 1000:.3g} ms, {share:.1%}"

"""A profile: what was measured of each operator, and of all of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from typing import Annotated, TypedDict

RUNS = 20  # of a profile, where no number is asked for


class Kind(StrEnum):
    """What a time was measured of."""

    OPERATOR = "operator"  # of the model
    FUSED = "fused"  # put there by the backend: of which operators it is made is not known
    OUTSIDE = "outside"  # between operators: the backend's own work, and copies of inputs and outputs


class TimingJson(TypedDict):
    """The time of one operator, or of several that run as one, in a run."""

    operator: Annotated[str, "its name; of several that run as one, their names; empty outside of operators"]
    kind: Annotated[str, "`operator` of the model, `fused` by the backend, or `outside` of operators"]
    layer: Annotated[str, "the path of the innermost layer around it"]
    lines: Annotated[list[str], "where it is written, as `file:line`"]
    seconds: Annotated[float, "of a run, without operators inside it"]
    calls: Annotated[float, "in a run"]


@dataclass(frozen=True)
class Timing:
    """The time of one operator in a run, without that of operators inside it; several operators may run as one.

    `layer` is the path of the innermost layer around all of them; `lines` are where they are written, as `file:line`.
    `seconds` and `calls` are those of an average of the runs that count.
    """

    operator: str
    seconds: float
    calls: float
    kind: Kind = Kind.OPERATOR
    layer: str = ""
    lines: tuple[str, ...] = ()

    def to_json(self) -> TimingJson:
        """As `nablac profile --json` prints it."""
        return {
            "operator": self.operator,
            "kind": str(self.kind),
            "layer": self.layer,
            "lines": list(self.lines),
            "seconds": self.seconds,
            "calls": self.calls,
        }


@dataclass(frozen=True)
class Profile:
    """The times of some runs. The timings add up to `seconds`, the average of the faster half of the runs.

    `flops_of_layers` and `flops_of_lines` are the floating-point operations of a run that are written in a layer (and
    not in one inside it) or in a line; `texts` are the texts of lines.
    """

    name: str
    what: str  # "inference" or "training step"
    backend: str
    device: str
    sizes: Mapping[str, int]
    runs: Sequence[float]  # seconds, each
    seconds: float
    timings: Sequence[Timing]
    flops_of_layers: Mapping[str, int] = field(default_factory=dict)
    flops_of_lines: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    unprofiled: Sequence[float] = ()  # seconds of runs without clocks and profilers, which take time themselves

    @property
    def slowdown(self) -> float | None:
        """How many times as long a profiled run takes as another, by their faster halves; None if not measured."""
        if not self.unprofiled:
            return None
        faster = faster_half(self.unprofiled)
        return self.seconds * len(faster) / sum(self.unprofiled[run] for run in faster)

    @property
    def median(self) -> float:
        """The median of the times of the runs, which a disturbed run does not move."""
        return median(self.runs)

    @property
    def flops(self) -> int:
        """The floating-point operations of a run."""
        return sum(self.flops_of_layers.values())


def faster_half(runs: Sequence[float]) -> list[int]:
    """The numbers of the faster half of some runs, the fastest first: something else has disturbed the others."""
    return sorted(range(len(runs)), key=runs.__getitem__)[: -(-len(runs) // 2)]


def common_layer(paths: Sequence[str]) -> str:
    """The path of the innermost layer around all of these layers; empty for the model itself."""
    first, *others = (path.split(".") for path in paths) if paths else ([],)
    shared = 0
    while shared < len(first) and all(shared < len(other) and other[shared] == first[shared] for other in others):
        shared += 1
    return ".".join(first[:shared])


def line_of(source: str) -> str:
    """`file:line` of a location `file:line:column`."""
    return source.rpartition(":")[0]

"""Which of several equivalent forms of a computation runs fastest on a target, by a table of measured times.

`costs.json` has the times, by target and choice, and when and where each choice was measured; the script
`benchmarks/form_costs.py` writes it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from compiler.dims import Size, substitute, symbols
from compiler.targets import Target
from grammar.record import Record

_NOISE = 1.15  # a ratio of times that two measurements of one thing may have
HEAD = "measured"  # the key of when, where and with what each choice was measured
_TYPICAL = 32  # the value of a size that is known only when the model runs, as of the batch


class Measurement(Record):
    """The time in microseconds that one form of a computation takes at these sizes."""

    form: str
    sizes: Mapping[str, int]
    us: float


def cheapest(target: Target, choice: str, default: str, **sizes: Size) -> str:
    """The form of `choice` that is fastest on a target at the measured sizes nearest to these.

    `default` is returned where nothing is measured, and where it is as fast but for noise. Sizes are compared by their
    ratios. A dim that is known only when the model runs counts as a typical one.
    """
    measured = _measurements().get((target.name, choice), ())
    if not measured:
        return default
    numbers = {name: _number(size) for name, size in sizes.items()}

    def distance(at: Mapping[str, int]) -> float:
        return sum(math.log2(max(at[name], 1) / max(number, 1)) ** 2 for name, number in numbers.items())

    nearest = min(measured, key=lambda measurement: distance(measurement.sizes)).sizes
    times = {row.form: row.us for row in measured if row.sizes == nearest}
    fastest = min(times, key=lambda form: times[form])
    return default if times.get(default, math.inf) <= _NOISE * times[fastest] else fastest


def _number(size: Size) -> int:
    number = substitute(size, dict.fromkeys(symbols(size), _TYPICAL))
    return number if isinstance(number, int) else _TYPICAL


@cache
def _measurements() -> Mapping[tuple[str, str], tuple[Measurement, ...]]:
    """All measurements by target and choice."""
    table = json.loads(Path(__file__).with_name("costs.json").read_text("utf-8"))
    return {
        (target, choice): tuple(Measurement(row["form"], row["sizes"], row["us"]) for row in rows)
        for target, choices in table.items()
        if target != HEAD
        for choice, rows in choices.items()
    }

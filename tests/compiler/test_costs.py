"""A form is chosen by the measured times nearest to the sizes at hand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from compiler import costs
from compiler.costs import Measurement, cheapest
from compiler.dims import Dim, Size
from compiler.targets import ORT_CPU, Target

ROWS = (
    Measurement("plain", {"steps": 8, "hidden": 8}, 10.0),
    Measurement("packed", {"steps": 8, "hidden": 8}, 20.0),
    Measurement("plain", {"steps": 32, "hidden": 256}, 300.0),
    Measurement("packed", {"steps": 32, "hidden": 256}, 200.0),
    Measurement("plain", {"steps": 8, "hidden": 256}, 110.0),
    Measurement("packed", {"steps": 8, "hidden": 256}, 100.0),
)
ELSEWHERE = Target("elsewhere", "a runtime that nobody measured")


@pytest.mark.parametrize(
    ("target", "default", "sizes", "chosen"),
    [
        (ORT_CPU, "packed", {"steps": 8, "hidden": 8}, "plain"),
        (ORT_CPU, "plain", {"steps": 8, "hidden": 8}, "plain"),
        (ORT_CPU, "plain", {"steps": 64, "hidden": 300}, "packed"),
        (ORT_CPU, "plain", {"steps": Dim.named("time"), "hidden": 256}, "packed"),
        (ORT_CPU, "plain", {"steps": 8, "hidden": 256}, "plain"),
        (ORT_CPU, "packed", {"steps": 8, "hidden": 256}, "packed"),
        (ORT_CPU, "another", {"steps": 8, "hidden": 256}, "packed"),
        (ELSEWHERE, "packed", {"steps": 8, "hidden": 8}, "packed"),
    ],
    ids=["small", "small already", "nearest", "unknown", "noise", "noise the other way", "not measured", "no rows"],
)
def test_the_fastest_form_is_chosen(
    target: Target, default: str, sizes: Mapping[str, Size], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "_measurements", lambda: {("ort-cpu", "form"): ROWS})
    assert cheapest(target, "form", default, **sizes) == chosen

"""Steps between dates as texts."""

from __future__ import annotations

import pytest

from compiler.time_steps import TimeStep, time_step_of

HOUR = 3_600_000_000
STEPS = {
    "1 hour": (TimeStep(HOUR), "1 hour"),
    "90 minutes": (TimeStep(HOUR * 3 // 2), "90 minutes"),
    "60 Minutes": (TimeStep(HOUR), "1 hour"),
    "7 days": (TimeStep(168 * HOUR), "1 week"),
    "0.5 seconds": (TimeStep(500_000), "0.5 seconds"),
    "1 quarter": (TimeStep(3, True), "3 months"),
    "24months": (TimeStep(24, True), "2 years"),
    "0 hours": (None, ""),
    "1.5 months": (None, ""),
    "-1 hour": (None, ""),
    "1 fortnight": (None, ""),
    "hourly": (None, ""),
    "": (None, ""),
}


@pytest.mark.parametrize(("text", "step", "again"), [(text, *expected) for text, expected in STEPS.items()])
def test_a_step_is_read_and_written(text: str, step: TimeStep | None, again: str) -> None:
    assert time_step_of(text) == step
    if step is not None:
        assert str(step) == again and time_step_of(again) == step

"""What a graph costs, by hand: operations, and bytes read and written."""

from __future__ import annotations

import pytest

from compiler.graph_costs import GraphCost, cost_of
from tests.models import elaborate

PRODUCT = "model M { input x: [batch, 3]; param W: [3, 4]; output y = x @ W }"
VIEW = "model M { input x: [batch, 4]; output y = reshape(x, [batch, 2, 2]) }"
STEPS = """
cell Sum() { input x: [2]; state h: [2] = 0; h' = h + x; output h' }
model M { input xs: [time, 2]; output y = scan(Sum(), axis: 0)(xs) }
"""


@pytest.mark.parametrize(
    ("text", "sizes", "cost"),
    [
        (PRODUCT, {"batch": 5}, GraphCost(3, 2 * 5 * 3 * 4, 4 * (15 + 12 + 20))),
        (PRODUCT, {}, GraphCost(3, 2 * 32 * 3 * 4, 4 * (96 + 12 + 128))),
        (VIEW, {"batch": 5}, GraphCost(2, 0, 0)),
    ],
)
def test_the_cost_of_a_graph(text: str, sizes: dict[str, int], cost: GraphCost) -> None:
    assert cost_of(elaborate(text), sizes) == cost


def test_a_step_of_a_recurrence_costs_as_often_as_it_runs() -> None:
    short, long = (cost_of(elaborate(STEPS), {"time": time}) for time in (1, 6))
    assert short.nodes == long.nodes
    assert long.flops is not None and short.flops is not None and long.flops - short.flops == 5 * 2
    assert long.bytes is not None and short.bytes is not None and long.bytes - short.bytes == 5 * 4 * 6

"""A graph's text is stable and says everything."""

from __future__ import annotations

from compiler.dump import dump
from tests.models import elaborate

TEXT = """
cell Sum() {
    input x: [batch, 2]
    state h: [batch, 2] = 0
    h' = 0.5 * h + x
    output h'
}
model M() {
    input xs: [batch, time, 2]
    param W: [2, 3] ~ glorot_uniform()
    y = scan(Sum(), axis: 1)(xs) @ W
    output y
}
"""

EXPECTED = """\
graph M
  input xs: f32[batch, time, 2]
  parameter W: f32[2, 3]
  %0 = expand{shape=[batch, 2]}(0.0): f32[batch, 2]
  %1 = transpose{permutation=[1, 0, 2]}(xs): f32[time, batch, 2]
  %2, %3 = scan{states=1, slices=1}(%0, %1): f32[batch, 2], f32[time, batch, 2]
    graph step
      input h: f32[batch, 2]
      input x: f32[batch, 2]
      %0 = mul(0.5, h): f32[batch, 2]
      %1 = add(%0, x): f32[batch, 2]
      output next_h = %1
      output output_0 = %1
  %4 = transpose{permutation=[1, 0, 2]}(%3): f32[batch, time, 2]
  %5 = matmul(%4, W): f32[batch, time, 3]
  output y = %5
"""


def test_every_node_is_a_line() -> None:
    assert dump(elaborate(TEXT)) == EXPECTED


def test_lines_tell_their_origin_where_that_is_asked_for() -> None:
    assert "  # test.model:11:9" in dump(elaborate(TEXT), origins=True)


def test_two_elaborations_of_one_text_have_one_dump() -> None:
    assert dump(elaborate(TEXT)) == dump(elaborate(TEXT))

"""What is said of a scan whose cell is refused."""

from __future__ import annotations

from tests.compiler.texts import mistakes

CELL = "cell C() {\n input x: [b, f]\n state s: [b, f] = 0\n s' = s + x\n output s'\n}\n"


def test_a_first_state_of_another_shape_is_told_once() -> None:
    model = "model M {\n input xs: [b, t, 4]\n output scan(C())(xs, axis: 1, s: ones([4]))\n}\n"
    assert mistakes(CELL + model) == ["E303 state `s` of cell C is f32[b, 4], and its first value is f32[4]"]

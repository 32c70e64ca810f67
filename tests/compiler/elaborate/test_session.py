"""The session's tables hold an evaluator for all that can be written, and frames end with what they are entered for."""

from __future__ import annotations

from typing import get_args

import pytest

from compiler.elaborate import session
from compiler.elaborate.frame import CallSite, Frame
from compiler.elaborate.session import Session, calls, evaluates, runs
from compiler.elaborate.values import Builtin, Defined, Instance, Primitive, ScanOf, Scope
from compiler.elaborate.work import Work
from compiler.types import DType
from grammar import syntax
from grammar.diagnostics import Diagnostics
from grammar.source import Source, Span


def test_every_expression_has_an_evaluator() -> None:
    assert session._evaluators.keys() == set(get_args(syntax.Expression))


def test_every_statement_has_a_runner() -> None:
    """But for a setting: `elaborate_training` reads those of a train block, and every other body refuses it."""
    assert session._runners.keys() == set(get_args(syntax.Statement)) - {syntax.Setting}


def test_every_callee_has_a_caller() -> None:
    assert session._callers.keys() == {Defined, Instance, Builtin, Primitive, ScanOf, object}


@pytest.mark.parametrize(
    ("register", "kind"),
    [(evaluates, syntax.Pipe), (runs, syntax.For), (calls, Builtin)],
    ids=["Pipe", "For", "Builtin"],
)
def test_nothing_is_registered_twice(register: object, kind: type) -> None:
    with pytest.raises(AssertionError, match=kind.__name__):
        register(kind)(lambda *_: None)  # type: ignore[operator]


def test_a_frame_and_its_call_end_together() -> None:
    under_test = Session(training=False, float_type=DType.F32, diagnostics=Diagnostics(), work=Work())
    span = Span(Source("m.model", ""), 0, 0)
    outer, inner = Frame("fn", "outer", Scope(), ""), Frame("layer", "Inner", Scope(), "inner", float_type=DType.F16)
    with under_test.inside(outer):
        assert under_test.local_float_type is DType.F32
        with pytest.raises(KeyError), under_test.inside(inner, CallSite(span, "layer Inner")) as entered:
            assert entered is under_test.frame is inner
            assert under_test.local_float_type is DType.F16
            assert [call.what for call in under_test.calls] == ["layer Inner"]
            raise KeyError
        assert under_test.frame is outer
        assert under_test.calls == []
    assert under_test.frames == []

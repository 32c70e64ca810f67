"""One compilation while it is elaborated: what all frames share, and the tables of what evaluates which syntax.

An expression, a statement or a callee is evaluated by the function that its own module registers here, so that these
modules know the session and not one another. `compiler.elaborate` imports them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from compiler.dims import DimError, countable
from compiler.elaborate.frame import CallSite, Frame, ScanContext
from compiler.elaborate.interruptions import AlreadyReported, BudgetExceeded
from compiler.elaborate.placement import misplaced
from compiler.elaborate.values import UNKNOWN, Argument, CompileTimeValue, Lazy
from compiler.elaborate.work import EXPRESSION, ITEM, MOST_WORK, NODE, REFUSED, Work, of_shape
from compiler.graph import Layer, Value, origin
from compiler.search_space import Numbers, Search
from compiler.types import DType, TypeMismatch
from grammar import codes, syntax
from grammar.diagnostics import Diagnostic, Diagnostics, Label, NablacError
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.comparisons import Form

MOST_AXES = 32  # of a tensor: as many as NumPy had before 2.0; passes add some of their own
MOST_CALLS = 64  # nested applications; a recursive layer ends here
MOST_CONSTANTS = 1_000  # that name each other in a row
MOST_ITERATIONS = 1_000_000  # of all the loops of one compilation together

Syntax = TypeVar("Syntax")
Callee = TypeVar("Callee")
Result = TypeVar("Result", bound=CompileTimeValue)
Built = TypeVar("Built", bound="Value | tuple[Value, ...]")
Evaluate = Callable[["Session", Syntax], Result]
Run = Callable[["Session", Syntax], None]
Call = Callable[["Session", Callee, list[Argument], Span], Result]

_evaluators: dict[type[Any], Evaluate[Any, CompileTimeValue]] = {}
_runners: dict[type[Any], Run[Any]] = {}
_callers: dict[type[Any], Call[Any, CompileTimeValue]] = {}


def evaluates(kind: type[Syntax]) -> Callable[[Evaluate[Syntax, Result]], Evaluate[Syntax, Result]]:
    """Register the function that gives the value of one kind of expression."""

    def register(function: Evaluate[Syntax, Result]) -> Evaluate[Syntax, Result]:
        assert kind not in _evaluators, f"{kind.__name__} has two evaluators"
        _evaluators[kind] = function
        return function

    return register


def runs(kind: type[Syntax]) -> Callable[[Run[Syntax]], Run[Syntax]]:
    """Register the function that runs one kind of statement."""

    def register(function: Run[Syntax]) -> Run[Syntax]:
        assert kind not in _runners, f"{kind.__name__} has two runners"
        _runners[kind] = function
        return function

    return register


def calls(kind: type[Callee]) -> Callable[[Call[Callee, Result]], Call[Callee, Result]]:
    """Register the function that calls one kind of value; that of `object` refuses what is not something to call."""

    def register(function: Call[Callee, Result]) -> Call[Callee, Result]:
        assert kind not in _callers, f"{kind.__name__} has two callers"
        _callers[kind] = function
        return function

    return register


class Session:
    """One compilation: what is shared by all frames; the frame on top is the definition being applied."""

    def __init__(
        self,
        *,
        training: bool,
        float_type: DType,
        diagnostics: Diagnostics,
        work: Work,
        one_float: bool = False,
        search: Search | None = None,
    ) -> None:
        self._training = training
        self.asked_training = False  # whether anything depends on the flag
        self.float_type = float_type
        self.one_float = one_float  # whether all that is written as a float is of `float_type`
        self.diagnostics = diagnostics
        self.work = work
        self.search = search  # what chooses for ranges and choices; without one each has its default
        self.ranges: dict[Span, Numbers] = {}  # those that stand for a number, by where they are written
        self.settled = 0  # how often a range or a choice has been given its value
        self.constants: dict[Lazy, CompileTimeValue] = {}  # of which the value depends on the search
        self.calls: list[CallSite] = []
        self.frames: list[Frame] = []
        self.scans: list[ScanContext] = []
        self.parameters: dict[str, Value] = {}
        self.updates: dict[str, Value] = {}
        self.layers: dict[str, Layer] = {}
        self.spreads: list[tuple[Value, Value, Form]] = []  # declared beside data
        self.key: Value | None = None
        self.piped: list[Argument] = []
        self.placed: list[bool] = []  # of each piped value, whether `_` has put it somewhere
        self.iterations = 0

    @property
    def frame(self) -> Frame:
        """The definition being applied."""
        return self.frames[-1]

    @property
    def training(self) -> bool:
        """The compile-time flag of the language."""
        self.asked_training = True
        return self._training

    @property
    def local_float_type(self) -> DType:
        """The dtype of floats in the frame on top: that of its inputs, or the model's."""
        return self.frame.float_type or self.float_type

    def actual(self, written: DType) -> DType:
        """The dtype that a written one stands for: `f32` is the float type that the model is compiled for."""
        return self.float_type if written is DType.F32 or (self.one_float and written.is_float) else written

    @contextmanager
    def inside(self, frame: Frame, call: CallSite | None = None) -> Iterator[Frame]:
        """With `frame` on top; errors inside it are shown at `call` where they are the library's."""
        self.frames.append(frame)
        if call is not None:
            self.calls.append(call)
        try:
            yield frame
        finally:
            self.frames.pop()
            if call is not None:
                self.calls.pop()

    def charge(self, steps: float, span: Span) -> None:
        """Count work that is done at `span`; raises BudgetExceeded where it is more than all that there may be."""
        self.work.left -= steps
        if self.work.left < 0:
            at = self.calls[1].span if len(self.calls) > 1 else span  # in the model itself, not deep inside of a layer
            error = self.fault(
                codes.E504,
                f"work budget exceeded: compilation takes more than {MOST_WORK:,} steps",
                at,
                note="the budget is used up here",
                hint="compute shared values once; along an axis use `scan`, not `for`",
            )
            self.report(error)
            raise BudgetExceeded

    # Evaluating

    def evaluate(self, expression: syntax.Expression) -> CompileTimeValue:
        """The compile-time value of an expression, never UNKNOWN; raises NablacError, or AlreadyReported."""
        work = self.work
        work.left -= EXPRESSION
        if work.left < 0:
            self.charge(0, expression.span)
        try:
            return _evaluators[type(expression)](self, expression)
        except (DimError, TypeMismatch) as error:
            raise self.refusal(error, expression.span) from None

    def apply(self, callee: CompileTimeValue, arguments: list[Argument], span: Span) -> CompileTimeValue:
        """Call anything that can be called."""
        try:
            return _callers.get(type(callee), _callers[object])(self, callee, arguments, span)
        except RecursionError as error:
            raise self.refusal(error, span) from None

    def run(self, statements: Iterable[syntax.Statement]) -> None:
        """Run statements in order; a faulty one is reported, and what it would have defined becomes unknown."""
        for statement in statements:
            try:
                wrong = misplaced(statement, self.frame.kind)
                if wrong is not None:
                    raise self.fault(wrong.code, wrong.message, statement.span, hint=wrong.hint)
                _runners[type(statement)](self, statement)
            except NablacError as error:
                self.report(error)
                self._forget(statement)
            except (DimError, TypeMismatch, RecursionError) as error:
                self.report(self.refusal(error, statement.span))
                self._forget(statement)
            except AlreadyReported:
                self._forget(statement)

    def _forget(self, statement: syntax.Statement) -> None:
        """Names that a faulty statement would have bound are unknown from here on."""
        self.charge(EXPRESSION, statement.span)
        frame = self.frame
        match statement:
            case syntax.Assign(targets=targets):
                for target in targets:
                    if target.primed:
                        frame.next_values[target.text] = UNKNOWN
                    else:
                        frame.scope.names[target.text] = UNKNOWN
            case syntax.Declare(names=names):
                for declared in names:
                    frame.scope.names.setdefault(declared.name.text, UNKNOWN)
            case syntax.Output():
                if not frame.outputs:
                    frame.outputs.append((None, UNKNOWN, statement.span))
            case syntax.For(body=body):
                for inner in body:
                    self._forget(inner)
            case syntax.If(then=then, otherwise=otherwise):
                for inner in (*then, *otherwise):
                    self._forget(inner)
            case _:
                pass

    # Making nodes

    def make(self, build: Callable[[], Built], span: Span) -> Built:
        """What `build` makes, its nodes marked as coming from `span` and the layer at hand."""
        with origin(span, self.frame.path if self.frames else ""):
            built = build()
        values: tuple[Value, ...] = built if isinstance(built, tuple) else (built,)
        operands = values[0].node.operands if values else ()
        known = operands[0].type.shape if operands else ()
        steps: float = NODE + len(operands) * (EXPRESSION + len(known) * ITEM)
        for value in values:
            shape = value.type.shape
            if shape and shape is not known:  # most often it is that of the operand
                if len(shape) > MOST_AXES:
                    raise self.fault(
                        codes.E307, f"a tensor has at most {MOST_AXES} axes, this one has {len(shape)}", span
                    )
                if not countable(shape):
                    raise self.fault(codes.E307, f"{value.type} would have more than 2**63 - 1 elements", span)
                steps += of_shape(shape)
        self.charge(steps, span)
        return built

    # Errors

    def fault(
        self,
        code: codes.Code,
        message: str,
        span: Span,
        *,
        note: str | None = None,
        labels: tuple[Label, ...] = (),
        hint: str | None = None,
    ) -> NablacError:
        """The error for a mistake at `span`; one inside the library is shown where the user's file asked for it."""
        if span.source.library:
            for call in reversed(self.calls):
                if not call.span.source.library:
                    outside = (label for label in labels if not label.span.source.library)
                    labels = (Label(span, note or "required here"), *outside)
                    span, note = call.span, f"in {call.what}"
                    break
        labels = tuple(dict.fromkeys(label for label in labels if label.span != span))
        return NablacError(Diagnostic(code, message, span, note, labels, hint))

    def report(self, error: NablacError) -> None:
        """Keep the error's diagnostics; of several at one place the first is the one that helps.

        Raises BudgetExceeded where there are as many as are told.
        """
        known = {each.span for each in self.diagnostics.found}
        self.diagnostics.extend(each for each in error.diagnostics if each.span is None or each.span not in known)
        again = next((each.span for each in error.diagnostics if each.span is not None and each.span in known), None)
        if again is not None and self.work.left >= 0:  # near names were sought once more, as in each round of a loop
            self.charge(REFUSED, again)
        if self.diagnostics.full:
            raise BudgetExceeded

    def refusal(self, error: DimError | TypeMismatch | RecursionError, span: Span) -> NablacError:
        """What the compiler itself refuses at `span`, as a diagnostic."""
        if isinstance(error, RecursionError):  # not too many calls yet, but each of them deep in an expression
            return self.too_deep(span)
        if isinstance(error, DimError):
            return self.fault(codes.E307, str(error), span)
        return self.fault(codes.E301, str(error), span, hint=error.hint)

    def too_deep(self, span: Span) -> NablacError:
        """Applications beyond the limit: what applies itself again and again is named where it does."""
        hint = "repeat with `for i in 0..n { ... }` instead"
        names = [call.what for call in self.calls]
        again = max(set(names), key=lambda name: (names.count(name), -names.index(name)))
        if names.count(again) <= MOST_CALLS // 4:
            return self.fault(codes.E503, f"call stack too deep ({MOST_CALLS} levels)", span, hint=hint)
        call = next(call for call in reversed(self.calls) if call.what == again)
        if call.default:
            message = f"unbounded recursion: a default of {call.what} creates another one ({MOST_CALLS} levels)"
            return self.fault(codes.E503, message, call.span, hint="end it with another default, such as `none`")
        message = f"unbounded recursion: {call.what} applies itself ({MOST_CALLS} levels)"
        return self.fault(codes.E503, message, call.span, hint=hint)

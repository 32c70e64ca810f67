"""The session of one compilation: the state that all frames share, and the tables of evaluators.

Each kind of expression, statement and callee is evaluated by a function that its module registers here, so that these
modules depend on the session and not on each other. `compiler.elaborate` imports them all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from compiler.dims import DimError, countable
from compiler.elaborate.applications import Application
from compiler.elaborate.frame import CallSite, Frame, ScanContext
from compiler.elaborate.interruptions import AlreadyReported, BudgetExceeded
from compiler.elaborate.placement import misplaced
from compiler.elaborate.values import UNKNOWN, Argument, CompileTimeValue, Lazy
from compiler.elaborate.work import EXPRESSION, FACTOR, ITEM, NODE, REPEATED, Work, most_work, of_shape
from compiler.graph import Value
from compiler.model_spec import Mode
from compiler.origins import Layer, ResultName, origin
from compiler.search_space import Numbers, Search
from compiler.types import DType, TypeMismatch
from grammar import codes, syntax
from grammar.diagnostics import Diagnostic, Diagnostics, Label, NablacError
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.comparisons import Form

MOST_AXES = 32  # of a tensor: as many as NumPy had before 2.0; passes add some of their own
MOST_CALLS = 64  # nested calls: the limit of recursion
MOST_CONSTANTS = 1_000  # in a chain of definitions
MOST_ITERATIONS = 1_000_000  # of all loops of a compilation together

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
    """Register the function that evaluates one kind of expression."""

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
    """Register the function that calls one kind of value; that for `object` raises the error for all others."""

    def register(function: Call[Callee, Result]) -> Call[Callee, Result]:
        assert kind not in _callers, f"{kind.__name__} has two callers"
        _callers[kind] = function
        return function

    return register


class Session:
    """One compilation; the frame on top of the stack is the definition being applied."""

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
        self.reads_training = False  # whether the flag has been read
        self.float_type = float_type
        self.one_float = one_float  # whether all written float types stand for `float_type`
        self.diagnostics = diagnostics
        self.work = work
        self.search = search  # chooses the values of ranges and choices; None for their defaults
        self.ranges: dict[Span, Numbers] = {}  # of the ranges that a number was chosen from, by their spans
        self.resolved_count = 0  # how often the value of a range or choice has been chosen
        self.constants: dict[Lazy, CompileTimeValue] = {}  # those whose values depend on the search
        self.calls: list[CallSite] = []
        self.frames: list[Frame] = []
        self.scans: list[ScanContext] = []
        self.parameters: dict[str, Value] = {}
        self.updates: dict[str, Value] = {}
        self.layers: dict[str, Layer] = {}
        self.spreads: list[tuple[Value, Value, Form]] = []  # a spread, the data, and its form: see `spread`
        self.applications: dict[Hashable, Application] = {}  # by what they depend on: see `layer_copies`
        self.key: Value | None = None
        self.piped: list[Argument] = []
        self.placed: list[bool] = []  # for each piped value, whether `_` has used it
        self.iterations = 0

    @property
    def frame(self) -> Frame:
        """The definition being applied."""
        return self.frames[-1]

    @property
    def training(self) -> bool:
        """The flag `training` of the language."""
        self.reads_training = True
        return self._training

    @property
    def mode(self) -> Mode | None:
        """The mode of what was elaborated; None if it does not depend on the flag."""
        if not self.reads_training:
            return None
        return Mode.TRAINING if self._training else Mode.INFERENCE

    @property
    def local_float_type(self) -> DType:
        """The dtype of floats in the current frame: that of its inputs, or the model's."""
        return self.frame.float_type or self.float_type

    def actual(self, written: DType) -> DType:
        """The dtype that a written one stands for: `f32` means the float type of the compilation."""
        return self.float_type if written is DType.F32 or (self.one_float and written.is_float) else written

    @contextmanager
    def inside(self, frame: Frame, call: CallSite | None = None) -> Iterator[Frame]:
        """With `frame` on top of the stack; errors in the library's code are shown at the span of `call`."""
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
        """Charge work at `span`; raises BudgetExceeded if the budget is used up."""
        work = self.work
        work.left -= steps
        if work.left < 0:
            at = self.calls[1].span if len(self.calls) > 1 else span  # in the model itself, not inside a layer
            error = self.fault(
                codes.E504,
                f"work budget exceeded: compilation takes more than {most_work():,} steps",
                at,
                note="the budget is used up here",
                hint="compute shared values once; along an axis use `scan`, not `for`; for a model that is this large, "
                f"the environment variable {FACTOR}=4 allows four times the steps",
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
        """Call a value; NablacError if it cannot be called."""
        try:
            return _callers.get(type(callee), _callers[object])(self, callee, arguments, span)
        except RecursionError as error:
            raise self.refusal(error, span) from None

    def run(self, statements: Iterable[syntax.Statement]) -> None:
        """Run statements in order; errors are reported, and the names that a faulty one defines become UNKNOWN."""
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
        """Bind the names that a faulty statement defines to UNKNOWN."""
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

    # Building nodes

    def make(self, build: Callable[[], Built], span: Span) -> Built:
        """The result of `build`; its nodes get `span` and the path of the current layer as their origin."""
        with origin(span, self.frame.path if self.frames else ""):
            built = build()
        values: tuple[Value, ...] = built if isinstance(built, tuple) else (built,)
        operands = values[0].node.operands if values else ()
        known = operands[0].type.shape if operands else ()
        steps: float = NODE + len(operands) * (EXPRESSION + len(known) * ITEM)
        for value in values:
            shape = value.type.shape
            if shape and shape is not known:  # usually it is that of the operand
                if len(shape) > MOST_AXES:
                    raise self.fault(
                        codes.E307, f"a tensor has at most {MOST_AXES} axes, but this one has {len(shape)}", span
                    )
                if not countable(shape):
                    raise self.fault(codes.E307, f"{value.type} would have more than 2**63 - 1 elements", span)
                steps += of_shape(shape)
        self.charge(steps, span)
        return built

    def add_name(self, value: object, text: str, span: Span, *, primed: bool = False) -> None:
        """Record the name that the current definition gives to a tensor."""
        if not isinstance(value, Value):
            return
        calls = 0
        while calls < len(self.frames) and self.frames[-1 - calls].kind == "fn":
            calls += 1
        value.node.add_name(ResultName(value.index, text, primed, self.frame.path, calls, span))

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
        """An error at `span`; one in the library is shown at the call in the user's file."""
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
        """Add an error's diagnostics, except at spans that have one already: these would only follow from it.

        Raises BudgetExceeded at the maximal number of errors.
        """
        known = {diagnostic.span for diagnostic in self.diagnostics.reported if diagnostic.span is not None}
        self.diagnostics.extend(diagnostic for diagnostic in error.diagnostics if diagnostic.span not in known)
        repeated = next((diagnostic.span for diagnostic in error.diagnostics if diagnostic.span in known), None)
        if repeated is not None and not self.work.used_up:
            self.charge(REPEATED, repeated)
        if self.diagnostics.full:
            raise BudgetExceeded

    def refusal(self, error: DimError | TypeMismatch | RecursionError, span: Span) -> NablacError:
        """An exception of the compiler itself as an error at `span`."""
        if isinstance(error, RecursionError):  # fewer calls than the limit, but inside deeply nested expressions
            return self.too_deep(span)
        if isinstance(error, DimError):
            return self.fault(codes.E307, str(error), span)
        return self.fault(codes.E301, str(error), span, hint=error.hint)

    def too_deep(self, span: Span) -> NablacError:
        """The error for too many nested calls; names the definition that calls itself, if there is one."""
        hint = "repeat with `for i in 0..n { ... }` instead"
        names = [call.what for call in self.calls]
        recursive = max(set(names), key=lambda name: (names.count(name), -names.index(name)))
        if names.count(recursive) <= MOST_CALLS // 4:
            return self.fault(codes.E503, f"call stack too deep ({MOST_CALLS} levels)", span, hint=hint)
        call = next(call for call in reversed(self.calls) if call.what == recursive)
        if call.default:
            message = f"unbounded recursion: a default of {call.what} creates another one ({MOST_CALLS} levels)"
            return self.fault(codes.E503, message, call.span, hint="end it with another default, such as `none`")
        message = f"unbounded recursion: {call.what} applies itself ({MOST_CALLS} levels)"
        return self.fault(codes.E503, message, call.span, hint=hint)

"""What is true while one definition is applied, and the errors that know where that was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from compiler.dims import Size, countable
from compiler.elaborate.values import Given, Instance, Scope
from compiler.elaborate.work import CALL, EXPRESSION, ITEM, MOST_WORK, NODE, REFUSED, Stop, Work, of_shape
from compiler.graph import Graph, Layer, Value, origin
from compiler.operators.random import FoldKey
from compiler.operators.source import Input, constant
from compiler.types import DType, TensorType
from grammar.diagnostics import Diagnostic, Diagnostics, Label, NablacError
from grammar.source import Span

if TYPE_CHECKING:
    from compiler.comparisons import Form

MOST_AXES = 32  # of a tensor: as many as NumPy had before 2.0; passes add some of their own
MOST_CALLS = 64  # nested applications; a recursive layer ends here
MOST_CONSTANTS = 1_000  # that name each other in a row
MOST_ITERATIONS = 1_000_000  # of all the loops of one compilation together


class Silence(Exception):
    """An expression holds something that has been reported already."""


class Abandoned(Exception):
    """An input does not fit its declaration: what the application would say after that is noise."""


@dataclass(frozen=True)
class Binding:
    """A named dim: its size, and the declaration that fixed it."""

    size: Size
    span: Span


@dataclass(eq=False)
class State:
    """A state of a cell inside a scan: its value at the step's start, its first value outside, its next value."""

    name: str
    current: Value
    initial: Value
    span: Span
    next: Any = None  # a tensor, or UNKNOWN after an error


@dataclass(eq=False)
class ScanContext:
    """The step of a scan while its body is made."""

    length: Size
    step: Value  # i64 scalar, the step's number: an input of the body
    states: list[State] = field(default_factory=list)


@dataclass(eq=False)
class Frame:
    """One application of a definition: its names, dims, parameters, outputs."""

    kind: str
    name: str
    scope: Scope
    path: str
    instance: Instance | None = None
    dims: dict[str, Binding] = field(default_factory=dict)
    ellipsis: tuple[Size, ...] | None = None
    ellipsis_span: Span | None = None
    float_type: DType | None = None
    arguments: list[Given] = field(default_factory=list)
    named: dict[str, Given] = field(default_factory=dict)
    outputs: list[tuple[str | None, Any, Span]] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)
    first_states: dict[str, Given] = field(default_factory=dict)  # initial states given to a scan
    buffers: dict[str, Value] = field(default_factory=dict)
    next_values: dict[str, Any] = field(default_factory=dict)
    declared: dict[str, Span] = field(default_factory=dict)
    inputs: dict[str, Value] = field(default_factory=dict)  # of the model itself, or targets: what the caller feeds
    loops: list[int] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)  # paths below this one, and the last number tried behind each
    draws: int = 0
    equations: dict[str, Span] = field(default_factory=dict)  # where next values were stated

    def claim(self, name: str) -> str:
        """A path below this frame's that no other instance of it has."""
        suffix = "".join(f".{index}" for index in self.loops)
        first = candidate = name + suffix
        while candidate in self.taken:
            self.taken[first] += 1
            candidate = f"{name}_{self.taken[first]}{suffix}"
        self.taken[candidate] = 0
        return f"{self.path}.{candidate}" if self.path else candidate


@dataclass(frozen=True)
class CallSite:
    """Where a definition was applied."""

    span: Span
    what: str  # its kind and its name
    default: bool = False  # or where a default of it was evaluated


class Session:
    """One compilation: what is shared by all frames."""

    def __init__(
        self, *, training: bool, float_type: DType, diagnostics: Diagnostics, work: Work, one_float: bool = False
    ) -> None:
        self._training = training
        self.asked_training = False  # whether anything depends on the flag
        self.float_type = float_type
        self.one_float = one_float  # whether all that is written as a float is of `float_type`
        self.diagnostics = diagnostics
        self.work = work
        self.calls: list[CallSite] = []
        self.frames: list[Frame] = []
        self.scans: list[ScanContext] = []
        self.parameters: dict[str, Value] = {}
        self.parameter_spans: dict[str, Span] = {}
        self.updates: dict[str, Value] = {}
        self.layers: dict[str, Layer] = {}
        self.spreads: list[tuple[Value, Value, Form]] = []  # declared beside data
        self.key: Value | None = None
        self.piped: list[Given] = []
        self.placed: list[bool] = []  # of each piped value, whether `_` has put it somewhere
        self.iterations = 0

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    @property
    def training(self) -> bool:
        """The compile-time flag of the language."""
        self.asked_training = True
        return self._training

    def actual(self, written: DType) -> DType:
        """The dtype that a written one stands for: `f32` is the float type that the model is compiled for."""
        return self.float_type if written is DType.F32 or (self.one_float and written.is_float) else written

    def charge(self, steps: float, span: Span) -> None:
        """Count work that is done at `span`; raises Stop where it is more than all that there may be."""
        self.work.left -= steps
        if self.work.left < 0:
            at = self.calls[1].span if len(self.calls) > 1 else span  # in the model itself, not deep inside of a layer
            error = self.fault(
                "E504",
                f"this asks for more work than the {MOST_WORK:,} steps of one compilation",
                at,
                note="they are used up here",
                hint="compute once what is used twice; along an axis repeat with `scan`, not with `for`",
            )
            self.report(error)
            raise Stop

    # Making nodes

    def make(self, build: Callable[[], Any], span: Span) -> Any:
        """What `build` makes, its nodes marked as coming from `span` and the layer at hand."""
        with origin(span, self.frame.path if self.frames else ""):
            made = build()
        values: tuple[Value, ...] = made if isinstance(made, tuple) else (made,)
        operands = values[0].node.operands if values else ()
        known = operands[0].type.shape if operands else ()
        steps: float = NODE + len(operands) * (EXPRESSION + len(known) * ITEM)
        for value in values:
            shape = value.type.shape
            if shape and shape is not known:  # most often it is that of the operand
                if len(shape) > MOST_AXES:
                    raise self.fault("E307", f"a tensor has at most {MOST_AXES} axes, and this has {len(shape)}", span)
                if not countable(shape):
                    raise self.fault("E307", f"{value.type} would have more than 2**63 - 1 elements", span)
                steps += of_shape(shape)
        self.charge(steps, span)
        return made

    def parameter(self, operator: type[Any], path: str, type: TensorType, initial: Graph | None, span: Span) -> Value:
        """The parameter (or buffer) at `path`, made at its first application and shared by the others."""
        if path in self.parameters:
            known = self.parameters[path]
            if known.type != type:
                raise self.fault(
                    "E308",
                    f"`{path}` is {known.type} since its instance was first applied, and would be {type} here",
                    span,
                    hint="an instance applied twice shares its parameters; make a second instance for another shape",
                )
            return known
        self.charge(CALL, span)
        made: Value = self.make(lambda: operator(path, type, initial)(), span)
        self.parameters[path] = made
        return made

    def gave(self, instance: Instance, results: Any) -> Any:
        """`results`, kept as what the layer gave if this is its first application."""
        assert instance.path is not None
        known = self.layers[instance.path]
        if not known.outputs:
            values = results if isinstance(results, tuple) else (results,)
            types = tuple(value.type for value in values if isinstance(value, Value))
            self.layers[instance.path] = Layer(known.definition, known.doc, types)
        return results

    def random_key(self, span: Span) -> Value:
        """The key of draws here: the graph's `seed`, folded with the step inside a scan and salted by the place."""
        if self.key is None:
            with origin(span, ""):
                self.key = Input("seed", TensorType(DType.I64))()
        seed, frame = self.key, self.frame
        self.charge(NODE + len(frame.path) * ITEM, span)
        salt = _salt(f"{frame.path}/{frame.draws}")
        frame.draws += 1
        key = self.make(lambda: FoldKey(salt)(seed, constant(0, DType.I64)), span)
        if self.scans:
            key = self.make(lambda: FoldKey(salt)(key, self.scans[-1].step), span)
        result: Value = key
        return result

    # Errors

    def fault(
        self,
        code: str,
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
                    labels = (Label(span, note or "asked for here"), *outside)
                    span, note = call.span, f"in {call.what}"
                    break
        labels = tuple(dict.fromkeys(label for label in labels if label.span != span))
        return NablacError(Diagnostic(code, message, span, note, labels, hint))

    def report(self, error: NablacError) -> None:
        """Keep the error's diagnostics; of several at one place the first is the one that helps.

        Raises Stop where there are as many as are told.
        """
        known = {each.span for each in self.diagnostics.found}
        self.diagnostics.extend(each for each in error.diagnostics if each.span is None or each.span not in known)
        again = next((each.span for each in error.diagnostics if each.span is not None and each.span in known), None)
        if again is not None and self.work.left >= 0:  # near names were sought once more, as in each round of a loop
            self.charge(REFUSED, again)
        if self.diagnostics.full:
            raise Stop


def label_of(value: Any, span: Span, shown: str | None = None) -> Label | None:
    """A label that says where an operand's type comes from."""
    if not isinstance(value, Value):
        return None
    made = value.node.origin.span or span
    return Label(made, f"{shown or 'this'} is {value.type}")


def _salt(text: str) -> int:
    """A stable 31-bit number for a text: FNV-1a, folded."""
    number = 0x811C9DC5
    for byte in text.encode():
        number = (number ^ byte) * 0x01000193 & 0xFFFFFFFF
    return number >> 1

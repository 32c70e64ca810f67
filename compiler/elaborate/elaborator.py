"""Applying definitions: statements run in order, once for each application, and leave nodes behind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, cast

from compiler.dims import DimError, Size
from compiler.elaborate import calls, cells, expressions, shapes
from compiler.elaborate.frame import (
    MOST_CALLS,
    MOST_CONSTANTS,
    MOST_ITERATIONS,
    Abandoned,
    CallSite,
    Frame,
    Session,
    Silence,
)
from compiler.elaborate.lists import MOST_ITEMS, shown
from compiler.elaborate.placement import misplaced
from compiler.elaborate.values import (
    NONE,
    UNKNOWN,
    Defined,
    Given,
    Instance,
    Interval,
    Lazy,
    ScanOf,
    Scope,
    describe,
)
from compiler.elaborate.work import CALL, COPIED, EXPRESSION, PIECE, REFUSED
from compiler.graph import Graph, Layer, Value
from compiler.operators.casting import StopGradient
from compiler.operators.shaping import Expand
from compiler.operators.source import Buffer, Input, Parameter
from compiler.types import TensorType, TypeMismatch
from grammar import syntax
from grammar.diagnostics import Label, NablacError, did_you_mean
from grammar.source import Source, Span

_REPEATED = {"param", "buffer", "state"}  # in a loop each round has its own
_INTERPOLATED = re.compile(r"\{([^{}]*)\}")


class Elaborator:
    """Evaluates the syntax of one compilation; the frame on top is the definition being applied."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.fault = session.fault

    @property
    def frame(self) -> Frame:
        return self.session.frame

    def evaluate(self, expression: syntax.Expression) -> Any:
        """The compile-time value of an expression; raises NablacError, or Silence for what is reported already."""
        work = self.session.work
        work.left -= EXPRESSION
        if work.left < 0:
            self.session.charge(0, expression.span)
        try:
            return expressions.evaluate(self, expression)
        except (DimError, TypeMismatch) as error:
            raise self.refusal(error, expression.span) from None

    def refusal(self, error: DimError | TypeMismatch | RecursionError, span: Span) -> NablacError:
        """What the compiler itself refuses at `span`, as a diagnostic."""
        if isinstance(error, RecursionError):  # not too many calls yet, but each of them deep in an expression
            return self._too_deep(span)
        if isinstance(error, DimError):
            return self.fault("E307", str(error), span)
        return self.fault("E301", str(error), span, hint=error.hint)

    def constant(self, lazy: Lazy) -> Any:
        """The value of a `const`, evaluated where it is declared when it is first asked for."""
        if lazy.busy:
            raise self.fault("E510", f"`{lazy.syntax.name.text}` is defined by itself", lazy.syntax.name.span)
        if len(self.session.frames) >= MOST_CONSTANTS:
            message = f"constants name each other more than {MOST_CONSTANTS} times in a row"
            raise self.fault("E503", message, lazy.syntax.name.span)
        lazy.busy = True
        self.session.frames.append(Frame("fn", lazy.syntax.name.text, lazy.scope, ""))
        try:
            value = self.evaluate(lazy.syntax.value)
        finally:
            self.session.frames.pop()
            lazy.busy = False
        lazy.scope.names[lazy.syntax.name.text] = value
        return value

    # Instances

    def instantiate(self, defined: Defined, arguments: list[Given], span: Span) -> Instance:
        """Bind a definition's hyperparameters; defaults are evaluated in order and may use the ones before."""
        self.session.charge(CALL + len(defined.syntax.hypers), span)
        given = calls.bind_hypers(self, defined, arguments, span)
        scope = Scope(defined.scope)
        for hyper in defined.syntax.hypers:
            name = hyper.name.text
            if name in given:
                value = given[name].value
                where = given[name].span
            else:
                value = self._default(defined, scope, hyper)
                where = hyper.span
            scope.names[name] = calls.checked_hyper(self, defined, hyper, value, where)
        return Instance(defined, scope.names, span)

    def _default(self, defined: Defined, scope: Scope, hyper: syntax.Hyper) -> Any:
        assert hyper.default is not None
        self._push(defined, scope, "", hyper.default.span, default=True)
        try:
            value = self.evaluate(hyper.default)
        finally:
            self.leave()
        return calls.settled(self, value, hyper.default.span)

    # Application

    def apply(self, callee: Any, arguments: list[Given], span: Span) -> Any:
        """Call anything that can be called."""
        try:
            return calls.call(self, callee, arguments, span)
        except RecursionError as error:
            raise self.refusal(error, span) from None

    def apply_instance(self, instance: Instance, arguments: list[Given], span: Span) -> Any:
        """A layer or model on tensors: its outputs, one value or a tuple."""
        if instance.defined.kind == "cell":
            return cells.apply_inside(self, instance, arguments, span)
        if instance.defined.kind == "optimizer":
            raise self.fault("E407", f"{describe(instance)} is not applied to tensors", span)
        self.place(instance)
        frame = self.enter(instance, arguments, span)
        try:
            self.run(instance.defined.syntax.body)
            self._leftover(frame, instance, span)
            return self.session.gave(instance, self._outputs(frame, instance, span))
        except Abandoned:
            return UNKNOWN
        finally:
            self.leave()

    def call_function(self, defined: Defined, arguments: list[Given], span: Span) -> Any:
        """A `fn` on its arguments: tensors or compile-time values alike."""
        bound = self.instantiate(defined, arguments, span)
        frame = self._push(
            defined, Scope(defined.scope, bound.hypers), self.frame.path if self.session.frames else "", span
        )
        if len(self.session.frames) > 1:
            outer = self.session.frames[-2]
            frame.taken, frame.loops, frame.float_type = outer.taken, outer.loops, outer.float_type
            frame.draws = outer.draws
        try:
            self.run(defined.syntax.body)
            return self._outputs(frame, bound, span)
        finally:
            if len(self.session.frames) > 1:
                self.session.frames[-2].draws = frame.draws
            self.leave()

    def place(self, instance: Instance) -> None:
        """Give an instance its path, if it has none."""
        if instance.path is None:
            self._claim(instance, snake_case(instance.defined.name), instance.span)

    def _claim(self, instance: Instance, name: str, span: Span) -> None:
        instance.path = self.frame.claim(name)
        self.session.charge(len(instance.path) * COPIED, span)

    def enter(self, instance: Instance, arguments: list[Given], span: Span) -> Frame:
        """A new frame on top for one application of an instance."""
        scope = Scope(instance.defined.scope, dict(instance.hypers))
        defined, path = instance.defined, instance.path or ""
        frame = self._push(defined, scope, path, span)
        if path:  # kept before the layers inside of it are; an optimizer has none
            self.session.layers.setdefault(path, Layer(defined.name, defined.syntax.doc))
        frame.instance = instance
        frame.arguments = [given for given in arguments if given.name is None]
        frame.named = {given.name: given for given in arguments if given.name is not None}
        return frame

    def leave(self) -> None:
        self.session.frames.pop()
        self.session.calls.pop()

    def _push(self, defined: Defined, scope: Scope, path: str, span: Span, default: bool = False) -> Frame:
        if len(self.session.frames) >= MOST_CALLS:
            raise self._too_deep(span)
        self.session.charge(CALL, span)
        frame = Frame("fn" if default else defined.kind, defined.name, scope, path)
        self.session.frames.append(frame)
        self.session.calls.append(CallSite(span, f"{defined.kind} {defined.name}", default))
        return frame

    def _too_deep(self, span: Span) -> NablacError:
        """Applications beyond the limit: what applies itself again and again is named where it does."""
        hint = "repeat with `for i in 0..n { ... }` instead"
        names = [each.what for each in self.session.calls]
        again = max(set(names), key=lambda name: (names.count(name), -names.index(name)))
        if names.count(again) <= MOST_CALLS // 4:
            return self.fault("E503", f"applications nest too deeply: {MOST_CALLS} levels", span, hint=hint)
        call = next(each for each in reversed(self.session.calls) if each.what == again)
        if call.default:
            message = f"a default of {call.what} makes another, without end: {MOST_CALLS} levels deep"
            return self.fault("E503", message, call.span, hint="another default, as `none`, ends it")
        message = f"{call.what} applies itself without end: {MOST_CALLS} levels deep"
        return self.fault("E503", message, call.span, hint=hint)

    def _leftover(self, frame: Frame, instance: Instance, span: Span) -> None:
        defined = instance.defined
        if frame.named:
            raise self._no_input(instance, next(iter(frame.named.values())))
        if frame.arguments:
            count = len(declared_inputs(defined.syntax))
            raise self.fault(
                "E406",
                f"{defined.kind} {defined.name} takes {count} input{'s' * (count != 1)}",
                frame.arguments[0].span,
                note="one too many",
                labels=(Label(defined.syntax.name.span, "defined here"),),
            )

    def _no_input(self, instance: Instance, given: Given) -> NablacError:
        defined, name = instance.defined, given.name or ""
        inputs = [each.name.text for each in declared_inputs(defined.syntax)]
        return self.fault(
            "E402",
            f"{defined.kind} {defined.name} has no input `{name}`",
            given.named_at or given.span,
            labels=(Label(defined.syntax.name.span, f"its inputs are {', '.join(inputs) or 'none'}"),),
            hint=did_you_mean(name, inputs),
        )

    def _outputs(self, frame: Frame, instance: Instance, span: Span) -> Any:
        if not frame.outputs:
            raise self.fault(
                "E408",
                f"{frame.kind} {frame.name} has no `output`",
                instance.defined.syntax.name.span,
                hint="end it with `output ...`",
            )
        values = [value for _, value, _ in frame.outputs]
        if any(value is UNKNOWN for value in values):
            return UNKNOWN if len(values) == 1 else tuple(values)
        return values[0] if len(values) == 1 else tuple(values)

    # Statements

    def run(self, statements: Iterable[syntax.Statement]) -> None:
        """Run statements in order; a faulty one is reported, and what it would have defined becomes unknown."""
        for statement in statements:
            try:
                self._statement(statement)
            except NablacError as error:
                self.session.report(error)
                self._forget(statement)
            except (DimError, TypeMismatch, RecursionError) as error:
                self.session.report(self.refusal(error, statement.span))
                self._forget(statement)
            except Silence:
                self._forget(statement)

    def _statement(self, statement: syntax.Statement) -> None:
        wrong = misplaced(statement, self.frame.kind)
        if wrong is not None:
            raise self.fault(wrong.code, wrong.message, statement.span, hint=wrong.hint)
        match statement:
            case syntax.Assign():
                self._assign(statement)
            case syntax.Declare():
                self._declare(statement)
            case syntax.Output():
                self._output(statement)
            case syntax.For():
                self._loop(statement)
            case syntax.If():
                self.run(statement.then if self.truth(statement.condition) else statement.otherwise)
            case syntax.Assert():
                self._assert(statement)

    def truth(self, condition: syntax.Expression) -> bool:
        """A condition known at compile time."""
        value = self.evaluate(condition)
        if value is UNKNOWN:
            raise Silence
        if isinstance(value, Value):
            raise self.fault(
                "E315",
                "a condition must be known when the model is compiled",
                condition.span,
                note=f"this is {describe(value)}",
                hint="choose between tensors with `where(condition, a, b)`",
            )
        if not isinstance(value, bool):
            raise self.fault("E507", f"a condition is true or false, and this is {describe(value)}", condition.span)
        return value

    def _assign(self, statement: syntax.Assign) -> None:
        value = self.evaluate(statement.value)
        targets = statement.targets
        if len(targets) == 1:
            self.assign(targets[0], value, statement.value.span)
            return
        if not isinstance(value, (tuple, list)):
            if value is UNKNOWN:
                raise Silence
            raise self.fault(
                "E409", f"{len(targets)} names on the left, and {describe(value)} on the right", statement.value.span
            )
        if len(value) != len(targets):
            raise self.fault(
                "E409", f"{len(targets)} names on the left, and {len(value)} values on the right", statement.value.span
            )
        for target, item in zip(targets, value, strict=True):
            self.assign(target, item, statement.value.span)

    def assign(self, target: syntax.Name, value: Any, span: Span) -> None:
        """Bind a name, or the next value of a state or buffer."""
        if target.primed:
            self._assign_next(target, value, span)
            return
        if target.text == "_":
            return
        if isinstance(value, Instance) and value.path is None and value.defined.kind in ("layer", "model", "cell"):
            self._claim(value, target.text, span)
        self.frame.scope.names[target.text] = value

    def _assign_next(self, target: syntax.Name, value: Any, span: Span) -> None:
        frame, name = self.frame, target.text
        current = frame.states[name].current if name in frame.states else frame.buffers.get(name)
        if current is None and frame.scope.names.get(name) is UNKNOWN:  # its declaration was refused
            raise Silence
        if current is None:
            raise self.fault(
                "E208",
                f"`{name}'` is the next value of a state or buffer, and `{name}` is neither here",
                target.span,
                hint=did_you_mean(name, [*frame.states, *frame.buffers])
                or f"declare it: `state {name}: [batch, ...] = 0`",
            )
        if name in frame.equations:
            raise self.fault(
                "E202",
                f"`{name}'` has two equations",
                target.span,
                labels=(Label(frame.equations[name], "the first"),),
                hint="a state has one next value; `where(condition, a, b)` chooses between two",
            )
        frame.equations[name] = target.span
        if value is UNKNOWN:
            frame.next_values[name] = value
            raise Silence
        tensor = calls.as_tensor(self, value, span, current.type.dtype)
        if tensor.type != current.type:
            declared = frame.declared.get(name)
            raise self.fault(
                "E309",
                f"`{name}` is {current.type}, and its next value would be {tensor.type}",
                span,
                labels=(Label(declared, "declared here"),) if declared else (),
            )
        frame.next_values[name] = tensor
        if name in frame.states:
            frame.states[name].next = tensor
        else:
            assert isinstance(current.node.op, Buffer)
            if self.session.scans:
                raise self.fault(
                    "E414",
                    f"`{name}'` has no place inside of a scan: a buffer has one next value, and a scan many steps",
                    target.span,
                    hint="what changes from step to step is a `state` of the cell",
                )
            self.session.updates[current.node.op.path] = tensor

    def _output(self, statement: syntax.Output) -> None:
        frame = self.frame
        value = statement.value
        items = value.items if isinstance(value, syntax.TupleOf) else (value,)
        for item in items:
            if statement.name is not None:
                name: str | None = statement.name.text
            elif isinstance(item, syntax.Name) and item.text not in frame.inputs:
                name = item.text  # an input bound again, `x = x -> Dense(4)`, gives its name to the input alone
            else:
                name = None
            try:
                found = self.evaluate(item)
            except (NablacError, Silence):
                frame.outputs.append((name, UNKNOWN, item.span))
                raise
            if isinstance(found, (Instance, Defined, ScanOf)) and frame.kind != "fn":
                frame.outputs.append((name, UNKNOWN, item.span))
                raise calls.not_a_tensor(self, found, item.span)
            found_items = found if isinstance(found, tuple) else (found,)
            self.session.charge(len(found_items) * EXPRESSION, item.span)
            for each in found_items:
                if frame.kind != "fn" and each is not UNKNOWN and each is not NONE:
                    each = calls.as_tensor(self, each, item.span, frame.float_type or self.session.float_type)
                frame.outputs.append((name if len(found_items) == 1 else None, each, item.span))
            if statement.name is not None and not isinstance(found, tuple):
                frame.scope.names[statement.name.text] = found

    def _loop(self, statement: syntax.For) -> None:
        items = self._iterate(statement)
        count = items.stop - items.start if isinstance(items, range) else len(items)  # `len` counts to 2**63
        self.session.iterations += max(count, 0)
        if self.session.iterations > MOST_ITERATIONS:
            raise self.fault(
                "E502",
                f"the loops of this model run more than {MOST_ITERATIONS} times",
                statement.iterable.span,
                note=f"{count} times here",
                hint="`for` unrolls when the model is compiled; along an axis of a tensor use `scan`",
            )
        frame = self.frame
        found = len(self.session.diagnostics.found)
        for index, item in enumerate(items):
            self.session.charge(EXPRESSION, statement.variable.span)
            frame.loops.append(index)
            try:
                frame.scope.names[statement.variable.text] = item
                self.run(statement.body)
            finally:
                frame.loops.pop()
            if len(self.session.diagnostics.found) > found:
                raise Silence  # the rounds to come would only repeat the error

    def _iterate(self, statement: syntax.For) -> Sequence[Any]:
        value = self.evaluate(statement.iterable)
        match value:
            case Interval(int() as start, int() as stop):
                return range(start, stop)
            case list() | tuple():
                return value
            case Interval():
                ends = [each for each in (value.start, value.stop) if not isinstance(each, int)]
                raise self.fault(
                    "E508",
                    f"a loop runs over whole numbers known at compile time, and this end is {describe(ends[0])}",
                    statement.iterable.span,
                    hint="along an axis of a tensor use `scan`",
                )
        if value is UNKNOWN:
            raise Silence
        raise self.fault(
            "E508", f"a loop runs over `a..b` or a list, not over {describe(value)}", statement.iterable.span
        )

    def _assert(self, statement: syntax.Assert) -> None:
        if self.truth(statement.condition):
            return
        message = f"`{statement.condition.span.text}` does not hold"
        if statement.message is not None:
            text = self.evaluate(statement.message)
            span = statement.message.span
            message = self._interpolate(text, span) if isinstance(text, str) else shown(self, text, span)
        call = self.session.calls[-1] if self.session.calls and self.frame.kind != "model" else None
        labels = (Label(call.span, f"{call.what} is applied here"),) if call else ()
        raise self.fault("E501", message, statement.span, note="this assertion fails", labels=labels)

    def _interpolate(self, text: str, span: Span) -> str:
        from grammar.parser import parse

        def piece(written: str) -> str:
            self.session.charge(PIECE + len(written), span)
            try:
                tree = parse(Source(span.source.name, f"const message = {written}\n", span.source.library))
                constant = tree.declarations[0]
                assert isinstance(constant, syntax.Const)
                return shown(self, self.evaluate(constant.value), span)
            except (NablacError, Silence):
                self.session.charge(REFUSED, span)
                return f"{{{written}}}"

        parts = _INTERPOLATED.split(text)  # what stood in braces is at the odd places
        pieces: list[str] = []
        length = 0
        for place, part in enumerate(parts):
            pieces.append(piece(part) if place % 2 else part)
            length += len(pieces[-1])
            if length > MOST_ITEMS:
                return "".join(pieces)[:MOST_ITEMS]
        return "".join(pieces)

    def _forget(self, statement: syntax.Statement) -> None:
        """Names that a faulty statement would have bound are unknown from here on."""
        self.session.charge(EXPRESSION, statement.span)
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

    # Declarations inside a body

    def _declare(self, statement: syntax.Declare) -> None:
        frame, kind = self.frame, statement.kind
        for declared in statement.names:
            name = declared.name.text
            first = frame.declared.get(name)
            if first is not None and (first != declared.name.span or kind not in _REPEATED):
                raise self.fault(
                    "E202",
                    f"`{name}` is declared twice in {frame.kind} {frame.name}",
                    declared.span,
                    note=None if first != declared.name.span else "once more in each round of the loop",
                    labels=(Label(first, "first here"),),
                )
            frame.declared[name] = declared.name.span
            frame.equations.pop(name, None)  # another round of a loop, another state
            frame.next_values.pop(name, None)
        for declared in statement.names:
            try:
                self._declare_one(statement, declared)
            except NablacError as error:
                self.session.report(error)
                if statement.kind == "input" and frame.instance is not None:
                    raise Abandoned from None
                frame.scope.names[declared.name.text] = UNKNOWN

    def _declare_one(self, statement: syntax.Declare, declared: syntax.Declared) -> None:
        frame, name = self.frame, declared.name.text
        if statement.kind == "input" or statement.kind == "target":
            frame.scope.names[name] = self._input(declared)
        elif statement.kind == "param" or statement.kind == "buffer":
            frame.scope.names[name] = self._parameter(statement, declared)
        else:
            frame.scope.names[name] = cells.declare_state(self, statement, declared)

    def _input(self, declared: syntax.Declared) -> Any:
        frame, name = self.frame, declared.name.text
        assert declared.type is not None
        if frame.instance is None or frame.kind == "train":  # the model itself: a tensor that the caller feeds
            if declared.optional:
                choice = f"let a hyperparameter choose: `if with_{name} {{ input {name}: ... }}`"
                raise self.fault(
                    "E414",
                    f"what model {frame.name} is fed is settled when it is compiled: `{name}` cannot be optional",
                    declared.span,
                    hint=choice if frame.kind == "model" else None,
                )
            dtype = shapes.dtype_of(self, declared.type) or self.session.float_type
            sizes = shapes.sizes_of(self, declared.type, binds=True)
            made: Value = self.session.make(lambda: Input(name, TensorType(dtype, sizes))(), declared.span)
            frame.float_type = frame.float_type or (dtype if dtype.is_float else None)
            frame.inputs[name] = made
            return made
        given = frame.named.pop(name, None) or (frame.arguments.pop(0) if frame.arguments else None)
        if given is None or given.value is NONE:
            if declared.optional:
                return NONE
            inputs = {each.name.text for each in declared_inputs(frame.instance.defined.syntax)}
            foreign = next((each for each in frame.named.values() if each.name not in inputs), None)
            if foreign is not None:  # a wrong name, and so a missing input: the name is the mistake
                raise self._no_input(frame.instance, foreign)
            call = self.session.calls[-1]
            raise self.fault(
                "E405",
                f"{frame.kind} {frame.name} needs its input `{name}`",
                call.span,
                labels=(Label(declared.span, "declared here"),),
                hint=f"as in `{frame.name}(...)({', '.join(each.name.text for each in _inputs_of(frame))})`",
            )
        if given.value is UNKNOWN:
            raise Silence
        tensor = calls.as_tensor(self, given.value, given.span, frame.float_type or self.session.float_type)
        shapes.bind_input(self, declared, tensor, given.span)
        return tensor

    def _parameter(self, statement: syntax.Declare, declared: syntax.Declared) -> Value:
        frame = self.frame
        assert declared.type is not None
        dtype = shapes.dtype_of(self, declared.type) or frame.float_type or self.session.float_type
        sizes = shapes.sizes_of(self, declared.type)
        unknown = next((size for size in sizes if not isinstance(size, int)), None)
        if unknown is not None:
            raise self.fault(
                "E310",
                f"`{declared.name.text}` cannot have an axis of {unknown}, which is known only when the model runs",
                declared.span,
                labels=tuple(
                    Label(binding.span, f"`{name}` is {unknown} from here")
                    for name, binding in frame.dims.items()
                    if binding.size == unknown
                ),
                hint="write the size as a number in the model's input",
            )
        path, type = _path(frame, declared.name.text), TensorType(dtype, sizes)
        initial = None if path in self.session.parameters else self._initial(statement, type, sizes, declared)
        operator = Parameter if statement.kind == "param" else Buffer
        value = self.session.parameter(operator, path, type, initial, declared.span)
        if frame.instance is not None:
            frame.instance.parameters[declared.name.text] = value
        if statement.kind == "buffer":
            frame.buffers[declared.name.text] = value
            before = self.session.updates.get(path)
            if before is not None:  # applied again, the instance begins with what the application before has left
                return cast(Value, self.session.make(lambda: StopGradient()(before), declared.span))
        return value

    def _initial(
        self, statement: syntax.Declare, type: TensorType, sizes: tuple[Size, ...], declared: syntax.Declared
    ) -> Graph | None:
        """The graph that makes a parameter's first value, fed nothing but the `seed`."""
        if statement.initializer is None:
            return None
        session, span = self.session, statement.initializer.span
        outer_key, session.key = session.key, None
        outer_scans, session.scans = session.scans, []
        outer_type, self.frame.float_type = self.frame.float_type, type.dtype if type.dtype.is_float else None
        outer_draws, self.frame.draws = self.frame.draws, 0
        try:
            if statement.drawn:
                value = self.draw(statement.initializer, list(sizes), span)
            else:
                value = self.stated(statement, statement.initializer, declared)
            tensor = calls.as_tensor(self, value, span, type.dtype)
            if tensor.type != type:
                if statement.drawn or tensor.type.dtype != type.dtype:
                    raise self.misshapen(declared, type, tensor, span)
                tensor = calls.typed(self, lambda: Expand(type.shape)(tensor), span, [])
            nodes = Graph({}, {"initial": tensor}).nodes
            session.charge(len(nodes) * EXPRESSION, span)
            if any(isinstance(node.op, (Input, Parameter)) and node.results[0] is not session.key for node in nodes):
                raise self.fault("E417", "a first value cannot depend on inputs or parameters", span)
            return Graph({"seed": session.key} if session.key is not None else {}, {"initial": tensor})
        finally:
            session.key, session.scans = outer_key, outer_scans
            self.frame.float_type, self.frame.draws = outer_type, outer_draws

    def misshapen(self, declared: syntax.Declared, type: TensorType, initial: Value, span: Span) -> NablacError:
        """The error for a first value that is not of its declaration's type."""
        message = f"`{declared.name.text}` is {type}, and its initialiser gives {initial.type}"
        return self.fault("E417", message, span, labels=(Label(declared.span, "declared here"),))

    def stated(self, statement: syntax.Declare, initializer: syntax.Expression, declared: syntax.Declared) -> Any:
        """The value after `=`; a function of the shape there, as `glorot_uniform()`, was meant to draw it."""
        callee = initializer.callee if isinstance(initializer, syntax.Call) else initializer
        if isinstance(callee, syntax.Name) and callee.text in self.frame.scope:
            function = self.frame.scope.find(callee.text)
            given = initializer.arguments if isinstance(initializer, syntax.Call) else ()
            if isinstance(function, Defined) and _takes_shape(function) and all(each.name for each in given):
                if all(each.name is None or each.name.text != "shape" for each in given):
                    written = f"{statement.kind} {declared.span.text} ~ {initializer.span.text}"
                    raise self.fault(
                        "E417",
                        f"`{callee.text}` makes a first value of the shape, which `=` does not give it",
                        initializer.span,
                        hint=f"a value is drawn by `~`: `{written}`",
                    )
        return self.evaluate(initializer)

    def draw(self, initializer: syntax.Expression, sizes: list[Size], span: Span) -> Any:
        """`~ f(args)` is `f(shape, args)`; `~ f` is `f(shape)`."""
        shape = Given(None, sizes, span)
        if isinstance(initializer, syntax.Call):
            callee = self.evaluate(initializer.callee)
            arguments = calls.arguments(self, initializer.arguments)
        else:
            callee, arguments = self.evaluate(initializer), []
        if not calls.is_callable(callee):
            raise self.fault(
                "E417",
                f"an initialiser is a function of the shape, and this is {describe(callee)}",
                span,
                hint="a fixed first value is written with `=`",
            )
        return self.apply(callee, [shape, *arguments], span)


def _takes_shape(defined: Defined) -> bool:
    hypers = defined.syntax.hypers
    return defined.kind == "fn" and bool(hypers) and hypers[0].name.text == "shape"


@lru_cache
def declared_inputs(definition: syntax.Definition) -> list[syntax.Declared]:
    """Every input that a body declares, in `if`s and loops too."""
    found: list[syntax.Declared] = []

    def walk(statements: Iterable[syntax.Statement]) -> None:
        for statement in statements:
            match statement:
                case syntax.Declare(kind="input", names=names):
                    found.extend(names)
                case syntax.For(body=body):
                    walk(body)
                case syntax.If(then=then, otherwise=otherwise):
                    walk(then)
                    walk(otherwise)
                case _:
                    pass

    walk(definition.body)
    return found


def _inputs_of(frame: Frame) -> list[syntax.Declared]:
    """The inputs that an application has to give."""
    assert frame.instance is not None
    return [each for each in declared_inputs(frame.instance.defined.syntax) if not each.optional]


def snake_case(name: str) -> str:
    """`MultiHeadAttention` as `multi_head_attention`; `Conv2D` as `conv2d`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _path(frame: Frame, name: str) -> str:
    """The path of a parameter or buffer, with the numbers of the loops that it is declared in."""
    numbered = ".".join([name, *map(str, frame.loops)])
    return f"{frame.path}.{numbered}" if frame.path else numbered

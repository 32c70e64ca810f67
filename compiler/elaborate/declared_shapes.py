"""Declared shapes: binding named dims to actual sizes, and evaluating the other sizes."""

from __future__ import annotations

from compiler.dims import MOST_TERMS, Dim, DimError, Size, differ, substitute, symbols
from compiler.elaborate.frame import Binding
from compiler.elaborate.frameworks import DTYPES
from compiler.elaborate.search_ranges import mismatch_at, resolve_range
from compiler.elaborate.session import Session
from compiler.elaborate.values import Interval, describe, is_size, size_text
from compiler.elaborate.work import of_sizes
from compiler.graph import Value
from compiler.types import DType
from grammar import codes, syntax
from grammar.diagnostics import Label, did_you_mean
from grammar.source import Span


def dtype_of(session: Session, written: syntax.TensorTypeSyntax) -> DType | None:
    """The written dtype, None if there is none; f32 stands for the float type of the compilation."""
    if written.dtype is None:
        return None
    text = written.dtype.text
    if text not in set(DType):
        raise session.fault(codes.E211, f"unknown dtype `{text}`", written.dtype.span, hint=_dtype_hint(text))
    return session.actual(DType(text))


def bind_input(session: Session, declared: syntax.Declared, value: Value, argument_span: Span) -> None:
    """Match a tensor with the declaration of an input: new dims are bound, known ones must agree."""
    assert declared.type is not None
    frame, name = session.frame, declared.name.text
    where = Label(declared.span, "declared here")
    dtype = dtype_of(session, declared.type)
    if dtype is None:
        dtype = frame.float_type if value.type.dtype.is_float and frame.float_type else value.type.dtype
        if not dtype.is_float:
            raise session.fault(
                codes.E304,
                f"`{name}` of {frame.name} must hold floats, got {value.type}",
                argument_span,
                labels=(where,),
                hint=f"convert it with `cast(x, {session.float_type})`, or declare the input's dtype",
            )
        frame.float_type = dtype
    if value.type.dtype != dtype:
        raise session.fault(
            codes.E304,
            f"`{name}` of {frame.name} must be {dtype}, got {value.type}",
            argument_span,
            labels=(where,),
            hint=f"convert it: `cast(x, {dtype})`",
        )
    bind_shape(session, declared, value.shape, argument_span)


def bind_shape(session: Session, declared: syntax.Declared, shape: tuple[Size, ...], argument_span: Span) -> None:
    """Match a shape with a declaration's, axis by axis."""
    assert declared.type is not None
    frame, name, written = session.frame, declared.name.text, declared.type.dims
    spread = [axis for axis, dim in enumerate(written) if isinstance(dim, syntax.Ellipsis)]
    fixed = len(written) - len(spread)
    if len(shape) < fixed or (not spread and len(shape) != fixed):
        at_least, axes = "at least " if spread else "", "axis" if fixed == 1 else "axes"
        hint = None
        if frame.kind == "cell" and not spread and len(shape) == fixed + 1:
            inside = declared.type.span.text.partition("[")[2]
            hint = (
                f"the cell takes one example; for a batch declare `{name}: [batch, {inside}`, and its states likewise"
            )
        raise session.fault(
            codes.E302,
            f"`{name}` of {frame.name} needs {at_least}{fixed} {axes}, got {size_text(shape)}",
            argument_span,
            note=f"this has {len(shape)}",
            labels=(Label(declared.span, f"declared as {declared.type.span.text}"),),
            hint=hint,
        )
    dims = [dim for dim in written if not isinstance(dim, syntax.Ellipsis)]
    sizes = list(shape)
    if spread:
        start, extra = spread[0], len(shape) - fixed
        middle = tuple(sizes[start : start + extra])
        del sizes[start : start + extra]
        if frame.ellipsis is not None and frame.ellipsis != middle:
            labels = (
                (Label(frame.ellipsis_span, f"`...` is {size_text(frame.ellipsis)} here"),)
                if frame.ellipsis_span
                else ()
            )
            raise session.fault(
                codes.E303,
                f"`...` of {frame.name} is {size_text(frame.ellipsis)}, but `{name}` would make it {size_text(middle)}",
                argument_span,
                labels=(*labels, Label(declared.span, "declared here")),
            )
        if frame.ellipsis is None:
            frame.ellipsis, frame.ellipsis_span = middle, declared.span
    for dim, size in zip(dims, sizes, strict=True):
        _bind_dim(session, declared, dim, size, shape, argument_span)


def sizes_of(session: Session, written: syntax.TensorTypeSyntax, *, binds: bool = False) -> tuple[Size, ...]:
    """The sizes of a declared shape; with `binds`, unknown names become named dims of the model."""
    sizes: list[Size] = []
    for dim in written.dims:
        if isinstance(dim, syntax.Ellipsis):
            if session.frame.ellipsis is None:
                raise session.fault(
                    codes.E306, "`...` stands for the leading axes of an input, but no input here has them", dim.span
                )
            sizes.extend(session.frame.ellipsis)
            continue
        if binds:
            for name in free_names(session, dim):
                size = Dim.named(name.text)
                session.frame.dims[name.text] = Binding(size, dim.span)
                session.frame.scope.names[name.text] = size
        sizes.append(size_at(session, dim, is_searched=not binds))
    return tuple(sizes)


def size_at(session: Session, dim: syntax.Expression, *, is_searched: bool = False) -> Size:
    """The value of a size expression; NablacError unless it is known and at least 0.

    With `is_searched` a range is allowed; the sizes of an input are not searched, since the data has them.
    """
    for name in free_names(session, dim):
        raise session.fault(
            codes.E306,
            f"the size of `{name.text}` is unknown",
            name.span,
            hint=did_you_mean(name.text, [*session.frame.dims, *session.frame.scope.names])
            or "a dim is bound by an input's shape, or is a hyperparameter",
        )
    size = session.evaluate(dim)
    if is_searched:
        size = resolve_range(session, size)
        mismatch = mismatch_at(session, is_size, size, dim.span)
        if mismatch is not None and dim.span in session.ranges:
            message = f"a size must be a whole number, got {mismatch.actual}"
            raise session.fault(codes.E306, message, dim.span, hint=mismatch.hint)
    if isinstance(size, float) and size.is_integer():
        size = int(size)
    if not is_size(size):
        hint = "the data decides the sizes of an input: name this one" if isinstance(size, Interval) else None
        raise session.fault(codes.E306, f"a size must be a whole number, got {describe(size)}", dim.span, hint=hint)
    if isinstance(size, int) and not 0 <= size < 2**63:
        hint = "name a size that is known only when the model runs, as in `[batch, 4]`" if size == -1 else None
        raise session.fault(codes.E307, f"an axis cannot have size {size}", dim.span, hint=hint)
    known: Size = size
    return known


def free_names(session: Session, dim: syntax.Expression) -> list[syntax.Name]:
    """The names in a size expression without a value yet; names of the language such as `max` count as unbound."""
    free = [name for name in _names(dim) if not session.frame.scope.declares(name.text)]
    for name in free:
        if name.text == "None":  # as in Keras; two of them would be the same dim
            hint = "give every axis a name of its own, as in `[batch, time, 3]`"
            raise session.fault(codes.E306, "`None` is not a size", name.span, hint=hint)
    return free


def _names(dim: syntax.Expression) -> list[syntax.Name]:
    match dim:
        case syntax.Name():
            return [dim]
        case syntax.Unary(operand=operand):
            return _names(operand)
        case syntax.Binary(left=left, right=right):
            return _names(left) + _names(right)
        case _:
            return []


def _bind_dim(
    session: Session,
    declared: syntax.Declared,
    dim: syntax.Expression,
    size: Size,
    shape: tuple[Size, ...],
    argument_span: Span,
) -> None:
    frame = session.frame
    free = {name.text: name for name in free_names(session, dim)}
    if not free:
        expected = size_at(session, dim)
        if expected == size:
            return
        labels = [Label(declared.span, f"declared as {declared.type.span.text}" if declared.type else "declared here")]
        for name in _names(dim):
            if name.text in frame.dims:
                labels.append(
                    Label(frame.dims[name.text].span, f"`{name.text}` is bound to {frame.dims[name.text].size} here")
                )
        written = dim.span.text
        shown = f"{written} = {expected}" if written != str(expected) else written
        raise session.fault(
            codes.E303,
            f"`{declared.name.text}` of {frame.name} needs {shown}, but {size_text(shape)} has {size}",
            argument_span,
            note=f"{size} and {expected} " + ("differ" if differ(size, expected) else "are not known to be equal"),
            labels=tuple(labels),
        )
    solved = _solve(session, dim, next(iter(free)), size) if len(free) == 1 else None
    if solved is None:
        raise session.fault(
            codes.E306,
            f"`{dim.span.text}` cannot be solved for {' and '.join(f'`{name}`' for name in free)}",
            dim.span,
            hint="name the dim alone in another axis, or make it a hyperparameter",
        )
    symbol = next(iter(free))
    frame.dims[symbol] = Binding(solved, declared.span)
    frame.scope.names[symbol] = solved


def _solve(session: Session, dim: syntax.Expression, name: str, size: Size) -> Size | None:
    """The solution x of `a*x + b = size` for an integer `a` and a size `b`; None for other expressions."""
    if isinstance(dim, syntax.Name):
        return size
    scope, unknown = session.frame.scope, Dim.named("?")
    scope.names[name] = unknown
    try:
        form = session.evaluate(dim)
    finally:
        del scope.names[name]
    if not isinstance(form, Dim):
        return None
    session.charge(MOST_TERMS * of_sizes(form, size), dim.span)
    try:
        offset = substitute(form, {"?": 0})
        slope = substitute(form, {"?": 1}) - offset
        if form != slope * unknown + offset or "?" in symbols(offset) or not isinstance(slope, int) or slope <= 0:
            return None
        rest = size - offset
        return rest // slope if rest % slope == 0 else None
    except DimError:
        return None


def _dtype_hint(text: str) -> str:
    if text in DTYPES:
        return f"nablac calls it `{DTYPES[text]}`"
    return did_you_mean(text, list(DType)) or f"the dtypes are {', '.join(DType)}"

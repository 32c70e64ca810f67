"""`rearrange` and `einsum`: named axes become transposes, reshapes and one matrix product.

The notation is einops' (Rogozhnikov, "Einops", ICLR 2022).
"""

from __future__ import annotations

import re
from collections import Counter

from compiler.dims import DimError, Size, product
from compiler.elaborate.operands import build_checked, tensor_argument
from compiler.elaborate.session import Session
from compiler.elaborate.values import Argument, describe, is_size
from compiler.elaborate.work import ITEM, NODE
from compiler.graph import Value, apply
from compiler.operators.shaping import Reshape, Transpose
from grammar import codes
from grammar.diagnostics import NablacError, did_you_mean
from grammar.source import Span

_TOKEN = re.compile(r"\s*([A-Za-z_]\w*|1|\.\.\.|\(|\)|(\S))")
Groups = list[list[str]]


def rearrange(session: Session, argument: Argument, pattern: Argument, sizes: dict[str, Argument], span: Span) -> Value:
    """`"b t (h d) -> b h t d"`: split axes, reorder them, join them."""
    tensor = tensor_argument(session, argument)
    left, right = _sides(session, pattern, codes.E311, 1)
    before, after = _groups(session, left[0], pattern), _groups(session, right, pattern)
    before, after = _spread(session, before, after, tensor, pattern)
    names = [name for group in before for name in group]
    if len(before) != tensor.type.rank and _apart(names, tensor.type.rank):
        raise _other_rank(session, before, tensor, pattern)  # its names are known only once they are separated
    _check_names(session, names, [name for group in after for name in group], pattern, codes.E311)
    known = _known_sizes(session, sizes, names, pattern)
    if len(before) != tensor.type.rank:
        raise _other_rank(session, before, tensor, pattern)
    for group, size in zip(before, tensor.shape, strict=True):
        _solve_group(session, group, size, known, tensor, pattern)
    result_names = [name for group in after for name in group]

    def build() -> Value:
        value = tensor
        apart = tuple(known[name] for name in names)
        if apart != value.shape:
            value = Reshape(apart)(value)
        positions = {name: position for position, name in enumerate(names)}
        order = tuple(positions[name] for name in result_names)
        if order != tuple(range(len(order))):
            value = Transpose(order)(value)
        joined = tuple(product(known[name] for name in group) for group in after)
        return value if joined == value.shape else Reshape(joined)(value)

    return build_checked(session, build, span, [(tensor, argument)], what="rearrange")


def _other_rank(session: Session, before: Groups, tensor: Value, pattern: Argument) -> NablacError:
    return session.fault(
        codes.E311,
        f'"{pattern.value}" has {len(before)} ax{"i" if len(before) == 1 else "e"}s on the left, but {tensor.type} has '
        f"{tensor.type.rank}",
        pattern.span,
        hint=_apart([name for group in before for name in group], tensor.type.rank),
    )


def _apart(names: list[str], rank: int) -> str | None:
    """The hint for a compact pattern such as `bqd`, where the pattern has fewer axes than the tensor."""
    word = max(names, key=len, default="")
    if len(names) >= rank or not 1 < len(word) <= rank or not word.isalpha():
        return None
    return f"separate axes with spaces: `{' '.join(word)}` is {len(word)} axes, `{word}` is one"


def einsum(session: Session, pattern: Argument, arguments: list[Argument], span: Span) -> Value:
    """`"b q d, b k d -> b q k"`: a sum of products over the axes that the right side leaves out."""
    operands = [tensor_argument(session, argument) for argument in arguments]
    session.charge(len(operands) * (2 * NODE + len(operands)), span)  # each reads the later names
    left, right = _sides(session, pattern, codes.E312, None)
    if len(left) != len(operands):
        raise session.fault(
            codes.E312, f'"{pattern.value}" names {len(left)} tensors, got {len(operands)}', pattern.span
        )
    inputs = [_flat(session, side, pattern) for side in left]
    output = _flat(session, right, pattern)
    session.charge(len(operands) * len(output) ** 2 * ITEM, span)
    sizes: dict[str, Size] = {}
    for names, operand, argument in zip(inputs, operands, arguments, strict=True):
        if len(names) != operand.type.rank:
            axes = "1 axis" if len(names) == 1 else f"{len(names)} axes"
            raise session.fault(
                codes.E312,
                f"`{' '.join(names)}` has {axes}, but {operand.type} has {operand.type.rank}",
                argument.span,
                hint=_apart(names, operand.type.rank),
            )
        if len(set(names)) != len(names):
            raise session.fault(codes.E312, f"`{' '.join(names)}` names an axis twice", pattern.span)
        for name, size in zip(names, operand.shape, strict=True):
            if sizes.setdefault(name, size) != size:
                raise session.fault(
                    codes.E312, f"axis `{name}` is {sizes[name]} in one tensor and {size} in another", argument.span
                )
    for name in output:
        if name not in sizes:
            raise session.fault(
                codes.E312, f'axis `{name}` of "{pattern.value}" appears only on the right', pattern.span
            )
    if len(set(output)) != len(output):
        raise session.fault(codes.E312, f'"{pattern.value}" names an axis twice on the right', pattern.span)

    def build() -> Value:
        value, names = operands[0], inputs[0]
        for position, (operand, others) in enumerate(zip(operands[1:], inputs[1:], strict=True), start=2):
            later = {name for side in inputs[position:] for name in side} | set(output)
            value, names = _contract(value, names, operand, others, later, sizes)
        return _finish(value, names, output)

    return build_checked(session, build, span, list(zip(operands, arguments, strict=True)), what="einsum")


def _contract(
    left: Value, left_names: list[str], right: Value, right_names: list[str], later: set[str], sizes: dict[str, Size]
) -> tuple[Value, list[str]]:
    """Two tensors as one batched matrix product [batch, rows, inner] @ [batch, inner, columns].

    Without a batch axis it is [..., inner] @ [inner, columns], and the tensor with more axes of its own keeps them
    separate, so that time remains an axis for what runs step by step.
    """
    left, left_names = _reduce(left, left_names, set(right_names) | later)
    right, right_names = _reduce(right, right_names, set(left_names) | later)
    batch = [name for name in left_names if name in right_names and name in later]
    inner = [name for name in left_names if name in right_names and name not in later]
    rows = [name for name in left_names if name not in right_names]
    columns = [name for name in right_names if name not in left_names]
    if not inner:  # no sum: an outer or elementwise product
        names = batch + rows + columns
        a = _arranged(left, left_names, batch + rows, [*(sizes[n] for n in batch + rows), *(1 for _ in columns)])
        b = _arranged(
            right,
            right_names,
            batch + columns,
            [*(sizes[n] for n in batch), *(1 for _ in rows), *(sizes[n] for n in columns)],
        )
        return apply("mul", a, b), names
    if not batch and len(rows) < len(columns):
        return _contract(right, right_names, left, left_names, later, sizes)
    count = [product(sizes[name] for name in group) for group in (rows, inner, columns)]
    lead = [sizes[name] for name in batch]
    apart = [count[0]] if batch else [sizes[name] for name in rows]
    a = _arranged(left, left_names, batch + rows + inner, [*lead, *apart, count[1]])
    b = _arranged(right, right_names, batch + inner + columns, [*lead, count[1], count[2]])
    result = apply("matmul", a, b)
    names = batch + rows + columns
    shape = tuple(sizes[name] for name in names)
    return (result if result.shape == shape else Reshape(shape)(result)), names


def _arranged(value: Value, names: list[str], order: list[str], shape: list[Size]) -> Value:
    permutation = tuple(names.index(name) for name in order)
    if permutation != tuple(range(len(permutation))):
        value = Transpose(permutation)(value)
    return value if value.shape == tuple(shape) else Reshape(tuple(shape))(value)


def _reduce(value: Value, names: list[str], kept: set[str]) -> tuple[Value, list[str]]:
    """Sum over the axes that no other tensor and not the output names."""
    from compiler.operators.reductions import Sum

    axes = tuple(axis for axis, name in enumerate(names) if name not in kept)
    if axes:
        value = Sum(axes)(value)
    return value, [name for name in names if name in kept]


def _finish(value: Value, names: list[str], output: list[str]) -> Value:
    value, names = _reduce(value, names, set(output))
    order = tuple(names.index(name) for name in output)
    return value if order == tuple(range(len(order))) else Transpose(order)(value)


def _sides(session: Session, pattern: Argument, code: codes.Code, count: int | None) -> tuple[list[str], str]:
    if not isinstance(pattern.value, str):
        raise session.fault(code, f"a pattern must be a text, got {describe(pattern.value)}", pattern.span)
    session.charge(2 * NODE + len(pattern.value) * ITEM, pattern.span)  # a reshape and a transpose
    sides = pattern.value.split("->")
    if len(sides) != 2:
        raise session.fault(code, f'"{pattern.value}" has no `->`', pattern.span)
    left = sides[0].split(",")
    if count is not None and len(left) != count:
        raise session.fault(code, f'"{pattern.value}" names {len(left)} tensors on the left', pattern.span)
    return left, sides[1]


def _groups(session: Session, side: str, pattern: Argument) -> Groups:
    """`b t (h d)` as [[b], [t], [h, d]]; `1` is an empty group."""
    groups: Groups = []
    inside: list[str] | None = None
    for match in _TOKEN.finditer(side.rstrip()):
        token = match[1]
        if match[2] and token not in "()":
            raise _bad(session, pattern, f"`{token}` is not allowed")
        if token == "(":
            if inside is not None:
                raise _bad(session, pattern, "parentheses do not nest")
            inside = []
        elif token == ")":
            if inside is None:
                raise _bad(session, pattern, "unmatched `)`")
            groups.append(inside)
            inside = None
        elif inside is not None:
            inside.extend([token] if token != "1" else [])
        else:
            groups.append([token] if token != "1" else [])
    if inside is not None:
        raise _bad(session, pattern, "unclosed `(`")
    return groups


def _bad(session: Session, pattern: Argument, why: str) -> NablacError:
    return session.fault(codes.E311, f'"{pattern.value}" is not a valid pattern: {why}', pattern.span)


def _flat(session: Session, side: str, pattern: Argument) -> list[str]:
    groups = _groups(session, side, pattern)
    if any(len(group) != 1 or group == ["..."] for group in groups):
        raise session.fault(codes.E312, f'einsum takes one name per axis, "{pattern.value}" has others', pattern.span)
    return [group[0] for group in groups]


def _spread(session: Session, before: Groups, after: Groups, tensor: Value, pattern: Argument) -> tuple[Groups, Groups]:
    """Both sides with `...` replaced by one name for each axis that it stands for."""
    if ["..."] not in before:
        if any("..." in group for group in after):
            raise _bad(session, pattern, "`...` appears only on the right")
        return before, after
    count = tensor.type.rank - len(before) + 1
    if count < 0:
        raise session.fault(codes.E311, f'"{pattern.value}" has more axes on the left than {tensor.type}', pattern.span)
    names = [f"...{position}" for position in range(count)]
    position = before.index(["..."])
    before = [*before[:position], *([name] for name in names), *before[position + 1 :]]
    expanded: Groups = []
    for group in after:
        if group == ["..."]:
            expanded.extend([name] for name in names)
        else:
            expanded.append([name for member in group for name in (names if member == "..." else [member])])
    return before, expanded


def _check_names(session: Session, left: list[str], right: list[str], pattern: Argument, code: codes.Code) -> None:
    for side, names in (("left", left), ("right", right)):
        double = next((name for name, count in Counter(names).items() if count > 1), None)
        if double:
            raise session.fault(code, f'"{pattern.value}" names `{double}` twice on the {side}', pattern.span)
    before, after = set(left), set(right)
    for name in left:
        if name not in after:
            raise session.fault(
                code,
                f'axis `{name}` of "{pattern.value}" is missing on the right',
                pattern.span,
                hint="reduce it with `sum(x, axis: ...)` or `einsum`",
            )
    for name in right:
        if name not in before:
            raise session.fault(code, f'axis `{name}` of "{pattern.value}" appears only on the right', pattern.span)


def _known_sizes(session: Session, sizes: dict[str, Argument], names: list[str], pattern: Argument) -> dict[str, Size]:
    known: dict[str, Size] = {}
    axes = set(names)
    for name, argument in sizes.items():
        if name not in axes:
            hint = did_you_mean(name, names) or f"its axes are {', '.join(names)}"
            at = argument.named_at or argument.span
            raise session.fault(codes.E402, f'"{pattern.value}" has no axis `{name}`', at, hint=hint)
        if not is_size(argument.value):
            raise session.fault(codes.E404, f"`{name}` must be a size, got {describe(argument.value)}", argument.span)
        known[name] = argument.value
    return known


def _solve_group(
    session: Session, group: list[str], size: Size, known: dict[str, Size], tensor: Value, pattern: Argument
) -> None:
    """Compute the one unknown size in a group from the size of the whole axis."""
    unknown = [name for name in group if name not in known]
    rest = product(known[name] for name in group if name in known)
    if len(unknown) > 1:
        raise session.fault(
            codes.E311,
            f"the sizes of {' and '.join(f'`{name}`' for name in unknown)} are unknown",
            pattern.span,
            hint=f'give one: `rearrange(x, "{pattern.value}", {unknown[0]}: ...)`',
        )
    try:
        if not unknown:
            if rest != size:
                raise session.fault(
                    codes.E311,
                    f"`({' '.join(group)})` is {rest}, but the axis of {tensor.type} is {size}",
                    pattern.span,
                )
            return
        if rest == 0 or size % rest != 0:
            certainty = "" if isinstance(size, int) and isinstance(rest, int) else "known to be "
            raise session.fault(
                codes.E311,
                f"an axis of size {size} cannot be split into `({' '.join(group)})`: "
                f"{size} is not {certainty}a multiple of {rest}",
                pattern.span,
            )
        known[unknown[0]] = size // rest
    except DimError as error:
        raise session.fault(codes.E307, str(error), pattern.span) from None

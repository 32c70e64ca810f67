"""W201: assignments whose names nothing reads."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

from grammar import codes, syntax
from grammar.diagnostics import Diagnostic
from grammar.record import Record

_WORD = re.compile(r"[^\W\d]\w*")


def unread_values(tree: syntax.File) -> Iterator[Diagnostic]:
    """A warning for each assignment of which no name is read before it is assigned again, or its block ends."""
    for declaration in tree.declarations:
        if isinstance(declaration, syntax.Train):
            yield from _of_block(declaration.body, lambda name: False)
        elif isinstance(declaration, syntax.Definition):
            trains = [node for node in tree.declarations if isinstance(node, syntax.Train)]
            read = {name for train in trains if train.model.text == declaration.name.text for name in names_in(train)}
            yield from _of_block(declaration.body, read.__contains__)


def names_in(node: object) -> set[str]:
    """The names that are read anywhere in a tree, those in the texts of messages included."""
    names: set[str] = set()
    pending = [node]
    while pending:
        match pending.pop():
            case syntax.Assign(value=value):  # its targets are names too
                pending.append(value)
            case syntax.Name(text=text):
                names.add(text)
            case syntax.Text(value=words):
                names.update(_WORD.findall(words))
            case Record() as record:
                pending += vars(record).values()
            case tuple() as items:
                pending += items
    return names


def _of_block(body: Sequence[syntax.Statement], read_after: Callable[[str], bool]) -> Iterator[Diagnostic]:
    """The warnings of a block, with what is read behind it."""
    reads: dict[str, list[int]] = {}
    assigns: dict[str, list[int]] = {}
    for index, statement in enumerate(body):
        for name in names_in(statement):
            reads.setdefault(name, []).append(index)
        if isinstance(statement, syntax.Assign):
            for target in statement.targets:
                assigns.setdefault(target.text, []).append(index)

    def read_behind(name: str, index: int) -> bool:
        following = assigns.get(name, [])
        last = bisect_right(following, index)
        end = following[last] if last < len(following) else None
        reading = reads.get(name, [])
        first = bisect_right(reading, index)
        if first < len(reading) and (end is None or reading[first] <= end):
            return True
        return end is None and read_after(name)

    for index, statement in enumerate(body):
        match statement:
            case syntax.Assign(targets=targets):
                is_exempt = any(target.primed or target.text.startswith("_") for target in targets)
                if not is_exempt and not any(read_behind(target.text, index) for target in targets):
                    yield _warning(statement)
            case syntax.For(body=inner):
                looped = names_in(statement)
                yield from _of_block(inner, lambda name, at=index, used=looped: name in used or read_behind(name, at))  # type: ignore[misc]
            case syntax.If(then=then, otherwise=otherwise):
                for branch in (then, otherwise):
                    yield from _of_block(branch, lambda name, at=index: read_behind(name, at))  # type: ignore[misc]


def _warning(statement: syntax.Assign) -> Diagnostic:
    names = " and ".join(f"`{target.text}`" for target in statement.targets)
    verb = "is" if len(statement.targets) == 1 else "are"
    hint = "read it, remove the line, or begin the name with `_`"
    return Diagnostic(codes.W201, f"{names} {verb} never read", statement.targets[0].span, hint=hint)

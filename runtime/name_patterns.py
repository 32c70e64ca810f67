"""Regular expressions for names, matched in linear time.

Python's `re` backtracks: expressions such as `(a+)+` can take exponential time. Here an expression is compiled to a
program of a small virtual machine, as R. Cox describes (https://swtch.com/~rsc/regexp/regexp3.html). Failed pairs of an
instruction and an index of the text are memoised, so that none is tried twice. Matches and groups are those of `re`,
except that empty repetitions are not repeated. With backreferences, `(?P=name)`, the text of the group is part of the
memoised state: they take more than linear time, within the same budget of steps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from re import _constants as code
from re import _parser as parser
from typing import Any, TypeAlias

MOST_INSTRUCTIONS = 20_000  # of one expression, its counted repetitions written out
_MOST_DIGITS = 9  # of a number that is counted from
MOST_STEPS = 10_000_000  # of all that is matched with one `Budget`

_ESCAPE = re.compile(r"\\(?:(?P<number>[0-9]{1,2})|g<(?P<group>\w+)(?P<offset>[+-]\d{1,9})?>|.|$)", re.DOTALL)
_UNKNOWN = "it uses an unsupported feature: lookaround, conditions or flags"


@dataclass(frozen=True)
class Counted:
    """A number in a name, with an offset: of a group."""

    group: int
    offset: int


Template: TypeAlias = tuple[str | int | Counted, ...]  # of texts, numbers of groups, and groups that are numbers


class TooManySteps(Exception):
    """Matching was given up after MOST_STEPS steps."""


@dataclass
class Budget:
    """The steps that are left to match with."""

    left: int = MOST_STEPS


@dataclass(frozen=True)
class Match:
    """The texts of the groups that took part, by number; 0 is the whole."""

    groups: Mapping[int, str]


# Instructions: `step` returns the next instruction and index, or None where the text does not match.


@dataclass(frozen=True)
class _Text:
    """A literal text."""

    text: str

    def step(self, run: _Run, at: int, index: int) -> tuple[int, int] | None:
        return (at + 1, index + len(self.text)) if run.name.startswith(self.text, index) else None


@dataclass(frozen=True)
class _One:
    """A character of a class."""

    fits: Callable[[str], bool]

    def step(self, run: _Run, at: int, index: int) -> tuple[int, int] | None:
        return (at + 1, index + 1) if index < len(run.name) and self.fits(run.name[index]) else None


@dataclass(frozen=True)
class _Split:
    """Continue at the first of two instructions, and if that fails at the second."""

    first: int
    second: int

    def step(self, run: _Run, at: int, index: int) -> tuple[int, int] | None:
        state = (at, index, *(run.slots[slot] for slot in run.referred))
        if state in run.tried:
            return None
        run.tried.add(state)
        run.waiting.append((self.second, index, False))
        return self.first, index


@dataclass(frozen=True)
class _Jump:
    to: int

    def step(self, run: _Run, at: int, index: int) -> tuple[int, int] | None:
        return self.to, index


@dataclass(frozen=True)
class _Save:
    """Save the index at which a group begins or ends."""

    slot: int  # 2 * group where it begins, and one more where it ends

    def step(self, run: _Run, at: int, index: int) -> tuple[int, int] | None:
        run.waiting.append((self.slot, run.slots[self.slot], True))
        run.slots[self.slot] = index
        return at + 1, index


@dataclass(frozen=True)
class _Backreference:
    """A backreference: the text of a group once more."""

    group: int

    def step(self, run: _Run, at: int, index: int) -> tuple[int, int] | None:
        begin, end = run.slots[2 * self.group], run.slots[2 * self.group + 1]
        if begin is None or end is None or not run.name.startswith(run.name[begin:end], index):
            return None
        return at + 1, index + end - begin


@dataclass(frozen=True)
class _At:
    """An anchor: the beginning or the end of the name."""

    begin: bool

    def step(self, run: _Run, at: int, index: int) -> tuple[int, int] | None:
        return (at + 1, index) if index == (0 if self.begin else len(run.name)) else None


_Instruction: TypeAlias = "_Text | _One | _Split | _Jump | _Save | _Backreference | _At"


@dataclass(frozen=True)
class NamePattern:
    """A compiled expression; `numbers` are its named groups, `count` is how many groups there are."""

    program: tuple[_Instruction, ...]
    numbers: Mapping[str, int]
    count: int
    prefix: str = ""  # that every name begins with
    suffix: str = ""  # that every name ends with

    def fullmatch(self, name: str, budget: Budget) -> Match | None:
        """The match of a whole name; raises TooManySteps."""
        if not name.startswith(self.prefix) or not name.endswith(self.suffix):
            return None
        slots = _Run(self.program, name, self.count).first_match(budget)
        if slots is None:
            return None
        spans = ((group, slots[2 * group], slots[2 * group + 1]) for group in range(1, self.count + 1))
        return Match({0: name} | {group: name[a:b] for group, a, b in spans if a is not None and b is not None})


def compile_pattern(pattern: str) -> NamePattern:
    """Compile an expression in `re`'s syntax without lookaround, conditions and flags; raises re.error for others."""
    try:
        parsed = parser.parse(pattern)
        if parsed.state.flags & ~re.UNICODE:
            raise re.error(_UNKNOWN)
        writer = _Writer()
        writer.sequence(parsed)
    except (OverflowError, RecursionError):
        raise re.error("it is too large, or nested too deeply") from None
    prefix = ""
    for instruction in writer.program:
        if isinstance(instruction, _Text):
            prefix += instruction.text
        elif not isinstance(instruction, _Save):
            break
    program = tuple(writer.program)
    return NamePattern(program, parsed.state.groupdict, parsed.state.groups - 1, prefix, _suffix(program))


def _suffix(program: Sequence[_Instruction]) -> str:
    """The text that every match of a program ends with: what follows the last choice, wherever that continues."""
    suffix = ""
    begin = max((end for instruction in program for end in _targets(instruction)), default=0)
    for instruction in reversed(program[begin:]):
        if isinstance(instruction, _Text):
            suffix = instruction.text + suffix
        elif not isinstance(instruction, _Save):
            break
    return suffix


def _targets(instruction: _Instruction) -> tuple[int, ...]:
    """The instructions at which execution may continue besides the next."""
    if isinstance(instruction, _Split):
        return (instruction.first, instruction.second)
    return (instruction.to,) if isinstance(instruction, _Jump) else ()


@dataclass
class _Writer:
    """Compiles an expression to a program."""

    program: list[Any] = field(default_factory=list)

    def add(self, instruction: Any) -> int:
        if len(self.program) >= MOST_INSTRUCTIONS:
            raise re.error(f"it is too large: its repetitions make more than {MOST_INSTRUCTIONS:,} parts")
        self.program.append(instruction)
        return len(self.program) - 1

    def sequence(self, parts: Any) -> None:
        for literal, run in groupby(parts, lambda part: part[0] is code.LITERAL):
            if literal:
                self.add(_Text("".join(chr(argument) for _, argument in run)))
            else:
                for kind, argument in run:
                    self.part(kind, argument)

    def part(self, kind: Any, argument: Any) -> None:
        if kind is code.NOT_LITERAL:
            self.add(_One(_letters([(code.NEGATE, None), (code.LITERAL, argument)])))
        elif kind is code.ANY:
            self.add(_One(lambda letter: letter != "\n"))
        elif kind is code.IN:
            self.add(_One(_letters(argument)))
        elif kind is code.BRANCH:
            self.branches(argument[1])
        elif kind is code.SUBPATTERN:
            self.group(*argument)
        elif kind in (code.MAX_REPEAT, code.MIN_REPEAT):
            self.repeat(*argument, lazy=kind is code.MIN_REPEAT)
        elif kind is code.GROUPREF:
            self.add(_Backreference(argument))
        elif kind is code.AT and argument in _ANCHORS:
            self.add(_At(_ANCHORS[argument]))
        else:
            raise re.error(_UNKNOWN)

    def branches(self, choices: Any) -> None:
        ends = []
        for choice in choices[:-1]:
            split = self.add(None)
            self.sequence(choice)
            ends.append(self.add(None))
            self.program[split] = _Split(split + 1, len(self.program))
        self.sequence(choices[-1])
        for end in ends:
            self.program[end] = _Jump(len(self.program))

    def group(self, number: int | None, added: int, removed: int, parts: Any) -> None:
        if added or removed:
            raise re.error(_UNKNOWN)
        if number is None:
            self.sequence(parts)
            return
        self.add(_Save(2 * number))
        self.sequence(parts)
        self.add(_Save(2 * number + 1))

    def repeat(self, least: int, most: Any, parts: Any, *, lazy: bool) -> None:
        for _ in range(least):
            before = len(self.program)
            self.sequence(parts)
            if len(self.program) == before:  # of nothing once more is nothing
                break
        if most is code.MAXREPEAT:
            split = self.add(None)
            self.sequence(parts)
            self.add(_Jump(split))
            self.program[split] = self.choice(split + 1, len(self.program), lazy)
            return
        splits = []
        for _ in range(most - least):
            splits.append(self.add(None))
            self.sequence(parts)
        for split in splits:
            self.program[split] = self.choice(split + 1, len(self.program), lazy)

    @staticmethod
    def choice(within: int, behind: int, lazy: bool) -> _Split:
        return _Split(behind, within) if lazy else _Split(within, behind)


_ANCHORS = {
    code.AT_BEGINNING: True,
    code.AT_BEGINNING_STRING: True,
    code.AT_END: False,
    code.AT_END_STRING: False,
}


def _letters(parts: Any) -> Callable[[str], bool]:
    """A test for the characters of a class, by `re`, which is safe for a single character."""
    text = "".join(_class_part(kind, argument) for kind, argument in parts)
    fits = re.compile(f"[{text}]", re.DOTALL).fullmatch
    return lambda letter: fits(letter) is not None


def _class_part(kind: Any, argument: Any) -> str:
    if kind is code.NEGATE:
        return "^"
    if kind is code.LITERAL:
        return re.escape(chr(argument))
    if kind is code.RANGE:
        return f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}"
    return _CATEGORIES[argument]


_CATEGORIES = {
    code.CATEGORY_DIGIT: r"\d",
    code.CATEGORY_NOT_DIGIT: r"\D",
    code.CATEGORY_SPACE: r"\s",
    code.CATEGORY_NOT_SPACE: r"\S",
    code.CATEGORY_WORD: r"\w",
    code.CATEGORY_NOT_WORD: r"\W",
}


def read_template(text: str, pattern: NamePattern) -> Template:
    """Parse a replacement as in `re`: `\\1`, `\\g<name>`, and `\\\\` for a backslash; raises re.error for others.

    `\\g<name+1>` and `\\g<name-1>` count: they are the number that the group holds, plus or minus another.
    """
    parts: list[str | int | Counted] = []
    end = 0
    for escape in _ESCAPE.finditer(text):
        parts.append(text[end : escape.start()])
        end = escape.end()
        group = escape["number"] or escape["group"]
        if group is None and escape[0] != r"\\":
            raise re.error(f"`{escape[0]}` is not a group of the left side")
        if group is None:
            parts.append("\\")
        else:
            number = int(group) if group.isdecimal() else pattern.numbers.get(group)
            if number is None or number > pattern.count:
                raise re.error(f"it has no group {group}")
            parts.append(Counted(number, int(escape["offset"])) if escape["offset"] else number)
    return tuple(part for part in (*parts, text[end:]) if part != "")


def expand(template: Template, match: Match) -> str:
    """A template with the texts of its groups; empty for groups that did not participate.

    A `/` in these texts becomes a dot, since Keras's names have slashes where paths have dots. Raises ValueError where
    a group that is counted holds no number, or the count is negative.
    """
    return "".join(part if isinstance(part, str) else _text_of(part, match) for part in template)


def _text_of(part: int | Counted, match: Match) -> str:
    if isinstance(part, int):
        return match.groups.get(part, "").replace("/", ".")
    text = match.groups.get(part.group, "")
    if not (text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise ValueError(f"`{text}` is not a number that can be counted from")
    if int(text) + part.offset < 0:
        raise ValueError(f"it would be {int(text) + part.offset}")
    return str(int(text) + part.offset)


class _Run:
    """One depth-first execution of a program on a name."""

    def __init__(self, program: Sequence[_Instruction], name: str, groups: int) -> None:
        self.program, self.name = program, name
        self.slots: list[int | None] = [None] * (2 * groups + 2)
        repeated = {instruction.group for instruction in program if isinstance(instruction, _Backreference)}
        self.referred = [slot for group in repeated for slot in (2 * group, 2 * group + 1)]
        self.tried: set[tuple[int | None, ...]] = set()
        # The backtracking stack: an instruction and an index to try, or a slot and its value to restore.
        self.waiting: list[tuple[int, int | None, bool]] = [(0, 0, False)]

    def first_match(self, budget: Budget) -> list[int | None] | None:
        """The slots of the first match of the whole name; raises TooManySteps."""
        while self.waiting:
            at, index, restores = self.waiting.pop()
            if restores:
                self.slots[at] = index
                continue
            assert index is not None
            if self._follow(at, index, budget):
                return self.slots
        return None

    def _follow(self, at: int, index: int, budget: Budget) -> bool:
        """Whether execution from an instruction and an index matches to the end of the name."""
        while True:
            budget.left -= 1
            if budget.left < 0:
                raise TooManySteps
            if at == len(self.program):
                return index == len(self.name)
            following = self.program[at].step(self, at, index)
            if following is None:
                return False
            at, index = following

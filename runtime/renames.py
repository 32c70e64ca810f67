"""Rename rules applied to the names of a weight file: which entries each parameter is made of.

How rules are written is described in `runtime/rename_rules.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.name_patterns import MOST_STEPS, Budget, Match, NamePattern, Template, TooManySteps, expand

if TYPE_CHECKING:
    from compiler.types import Array

EXAMPLE = "as in `layers.{i}.fc.weight -> block.{i}.dense.W ^T`"


@dataclass(frozen=True)
class Layout:
    """How a rule changes the axes of an entry, and the axis along which it is split or joined."""

    flat: bool = False
    turned: bool = False  # swaps the last two axes, if there are two
    permutation: tuple[int, ...] = ()  # the axes of the entry in their new order
    axis: int = -1
    is_grouped: bool = False  # joins the first two axes, before one of size 1
    images: tuple[int, ...] = ()  # the shape, with channels last, of what the rows are numbers of

    def fits(self, rank: int) -> bool:
        """Whether an entry of that many axes has this layout."""
        return not self.permutation or len(self.permutation) == rank

    def arrange(self, name: str, array: Array) -> Array:
        """An entry with its axes in the new order; NablacError for one that cannot be brought into it."""
        if self.images:
            array = self._with_channels_first(name, array)
        if self.flat:
            array = array.reshape(-1)
        if self.permutation:
            array = np.transpose(array, self.permutation)
        elif self.turned and array.ndim > 1:
            array = np.swapaxes(array, -1, -2)
        if not self.is_grouped:
            return array
        if array.ndim < 2:
            raise rule_error(f"cannot group the axes of `{name}`, {list(array.shape)}", "--rename", "it needs two")
        return array.reshape(array.shape[0] * array.shape[1], 1, *array.shape[2:])

    def _with_channels_first(self, name: str, array: Array) -> Array:
        """An entry with its rows in the order of images whose channels come first."""
        shown, numbers = list(self.images), math.prod(self.images)
        if not array.ndim or array.shape[0] != numbers:
            message = f"`{name}`, {list(array.shape)}, has no row for each of the {numbers:,} numbers of images {shown}"
            raise rule_error(message, "--rename", "they are the images before `Flatten`, with channels last")
        images = array.reshape(*self.images, *array.shape[1:])
        return np.moveaxis(images, len(self.images) - 1, 0).reshape(array.shape)

    def can_split(self, array: Array) -> bool:
        """Whether an arranged entry has the axis that is split."""
        return -array.ndim <= self.axis < array.ndim


@dataclass(frozen=True)
class Side:
    """A pattern of foreign names with the templates of their paths."""

    pattern: NamePattern
    templates: tuple[Template, ...]
    star: int = 0  # the group that rules `by` a name apply to


@dataclass(frozen=True)
class Rename:
    """One rule. With several sides, the entries that match them are joined to one weight, in that order."""

    sides: tuple[Side, ...]
    layout: Layout = Layout()
    text: str = ""
    added: tuple[bool, ...] = ()  # of each path, whether the entry is added to what another rule assigns to it
    inner: tuple[Rename, ...] = ()  # the rules that rename what the star matches
    collection: str | None = None  # of rules for layers that a model need not all have

    def assignments(self, name: str, rank: int, budget: Budget) -> Iterator[Assignment]:
        """The paths for an entry with `rank` axes, if the rule matches; NablacError beyond the budget."""
        if not self.layout.fits(rank):
            return
        for index, side in enumerate(self.sides):
            try:
                match = side.pattern.fullmatch(name, budget)
            except TooManySteps:
                message = f"matching names takes more than {MOST_STEPS:,} steps, at last with `{self.text}`"
                hint = "write fewer `*` and repetitions, or fewer rules"
                raise rule_error(message, "--rename", hint) from None
            if match is None:
                continue
            if self.inner:
                yield from self._by_inner(side, match, rank, budget)
            else:
                yield Assignment(self._paths(side, match, name), self, index)

    def _by_inner(self, side: Side, match: Match, rank: int, budget: Budget) -> Iterator[Assignment]:
        """What the inner rules make of the text that the star matches, within this rule's path."""
        for rule in self.inner:
            for assignment in rule.assignments(match.groups.get(side.star, ""), rank, budget):
                paths = tuple(
                    self._paths(side, Match({**match.groups, side.star: path}), path)[0] for path in assignment.paths
                )
                yield replace(assignment, paths=paths)

    def _paths(self, side: Side, match: Match, name: str) -> tuple[str, ...]:
        try:
            return tuple(expand(template, match) for template in side.templates)
        except ValueError as error:
            raise rule_error(f"`{self.text}` does not count for `{name}`: {error}", "--rename") from None


@dataclass(frozen=True)
class Assignment:
    """The paths of an entry by a rule, and which of the rule's sides it matched."""

    paths: tuple[str, ...]
    rule: Rename
    side: int


@dataclass(frozen=True)
class Entry:
    """The source of a weight: entries of a file that are joined, or which of how many parts of one entry."""

    names: tuple[str, ...]
    layout: Layout = Layout()
    part: int = 0
    parts: int = 1
    added: tuple[Entry, ...] = ()
    rule: str | None = None  # its text

    @property
    def name(self) -> str:
        """The first of the entries."""
        return self.names[0]

    def value(self, arrays: Mapping[str, Array]) -> Array:
        """The weight, with the entries that are added to it; NablacError if their shapes differ."""
        total = self.select(arrays)
        for other in self.added:
            more = other.select(arrays)
            if more.shape != total.shape:
                message = f"cannot add `{other.name}`, {list(more.shape)}, to `{self.name}`, {list(total.shape)}"
                raise rule_error(message, "--rename", "both must have the same shape")
            total = total + more
        return total

    def select(self, arrays: Mapping[str, Array]) -> Array:
        """These entries or this part; an entry that cannot be split into equal parts stays whole, and will not fit."""
        first, *others = (self.layout.arrange(name, arrays[name]) for name in self.names)
        for name, other in zip(self.names[1:], others, strict=True):
            if not self.layout.can_split(first) or _others(first, self.layout) != _others(other, self.layout):
                shown = f"`{self.name}`, {list(first.shape)}, and `{name}`, {list(other.shape)}"
                hint = "they may differ along that axis only: `axis: 0` at the end of the rule joins along the first"
                raise rule_error(f"cannot join {shown}, along axis {self.layout.axis}", "--rename", hint)
        if others:
            return np.concatenate([first, *others], self.layout.axis)
        if self.parts == 1 or not self.layout.can_split(first) or first.shape[self.layout.axis] % self.parts:
            return first
        return np.split(first, self.parts, axis=self.layout.axis)[self.part]

    def split_fault(self, arrays: Mapping[str, Array]) -> str | None:
        """Why the entry cannot be split into equal parts, if it is split."""
        if self.parts == 1:
            return None
        array, axis = self.layout.arrange(self.name, arrays[self.name]), self.layout.axis
        shown = f"`{self.name}`, {list(array.shape)}, cannot be split into {self.parts} equal parts"
        if not self.layout.can_split(array):
            return f"{shown} along axis {axis}: it has {array.ndim} {'axis' if array.ndim == 1 else 'axes'}"
        return f"{shown} along axis {axis}, of size {array.shape[axis]}" if array.shape[axis] % self.parts else None


def _others(array: Array, layout: Layout) -> tuple[int, list[int]]:
    """The number of axes, and the sizes of those that are not joined."""
    return array.ndim, [size for axis, size in enumerate(array.shape) if axis != layout.axis % array.ndim]


@dataclass(frozen=True)
class Renamed:
    """The entry for each path, and the rules that no entry needed."""

    entries: dict[str, Entry]
    unused: tuple[str, ...]  # texts of rules, and names of collections
    other_ranks: tuple[str, ...] = ()  # for each rule that an entry fits but for its number of axes, a message


@dataclass
class _Gathered:
    """What the entries of a file become, while they are read."""

    location: str
    whole: dict[str, Entry] = field(default_factory=dict)
    added: dict[str, list[Entry]] = field(default_factory=dict)
    pieces: dict[str, tuple[Rename, dict[int, str]]] = field(default_factory=dict)  # of joined weights, by side

    def add(self, path: str, entry: Entry, *, adds: bool) -> None:
        if adds:
            self.added.setdefault(path, []).append(entry)
        elif path in self.whole:
            self.refuse_second(path, self.whole[path].name, entry.name)
        else:
            self.whole[path] = entry

    def add_piece(self, path: str, name: str, assignment: Assignment) -> None:
        names = self.pieces.setdefault(path, (assignment.rule, {}))[1]
        if assignment.side in names:
            self.refuse_second(path, names[assignment.side], name)
        names[assignment.side] = name

    def refuse_second(self, path: str, first: str, second: str) -> None:
        message = f"`{first}` and `{second}` both become `{path}`"
        raise rule_error(message, self.location, "give them different paths")

    def entries(self) -> dict[str, Entry]:
        """The entry for each path; NablacError for a join or a sum of which a part is missing."""
        for path, (rule, names) in self.pieces.items():
            if len(names) < len(rule.sides):
                message = f"`{path}` joins {len(rule.sides)} entries, and the file has only "
                message += ", ".join(f"`{name}`" for name in names.values())
                raise rule_error(message, self.location, f"the rule is `{rule.text}`")
            joined = Entry(tuple(names[side] for side in sorted(names)), rule.layout, rule=rule.text)
            self.add(path, joined, adds=rule.added[0])
        for path, entries in self.added.items():
            if path not in self.whole:
                hint = f"without the sign the entry replaces it: `{path}`"
                message = f"`{entries[0].name}` is added to `{path}`, which no entry becomes"
                raise rule_error(message, self.location, hint)
            self.whole[path] = replace(self.whole[path], added=tuple(entries))
        return self.whole


def apply_renames(
    ranks: Mapping[str, int], rules: Sequence[Rename], location: str, is_known: Callable[[str], bool]
) -> Renamed:
    """The entry for each path, of entries by name with their numbers of axes.

    The first rule applies that matches and whose paths `is_known` says to be the model's; if there is none, the first
    that matches. NablacError if two entries become one path, or one of those that are joined or added is missing.
    """
    gathered, used, budget = _Gathered(location), set[int](), Budget()
    for name, rank in ranks.items():
        number, assignment = choose(name, rank, rules, is_known, budget)
        if assignment is None:
            gathered.add(name, Entry((name,)), adds=False)
            continue
        used.add(number)
        rule, parts = assignment.rule, len(assignment.paths)
        for part, path in enumerate(assignment.paths):
            if len(rule.sides) > 1:
                gathered.add_piece(path, name, assignment)
            else:
                entry = Entry((name,), rule.layout, part, parts, rule=rule.text)
                gathered.add(path, entry, adds=rule.added[part])
    others = _other_ranks(ranks, [rule for number, rule in enumerate(rules) if number not in used], budget)
    unused = tuple(text for text in _unused(rules, used) if text not in others)
    return Renamed(gathered.entries(), unused, tuple(others.values()))


def _other_ranks(ranks: Mapping[str, int], rules: Sequence[Rename], budget: Budget) -> dict[str, str]:
    """Why rules with an order of axes do not apply to entries of these names, by the texts of the rules."""
    messages: dict[str, str] = {}
    for rule in rules:
        needed = len(rule.layout.permutation)
        if not needed or rule.collection is not None:
            continue
        for name, rank in ranks.items():
            if rank != needed and next(rule.assignments(name, needed, budget), None) is not None:
                messages[rule.text] = f"`{rule.text}` is for entries with {needed} axes, and `{name}` has {rank}"
                break
    return messages


def choose(
    name: str, rank: int, rules: Sequence[Rename], is_known: Callable[[str], bool], budget: Budget
) -> tuple[int, Assignment | None]:
    """The rule that applies to an entry, by its number, and what it assigns; see `apply_renames`."""
    first: tuple[int, Assignment | None] = (0, None)
    for number, rule in enumerate(rules):
        for assignment in rule.assignments(name, rank, budget):
            if all(map(is_known, assignment.paths)):
                return number, assignment
            if first[1] is None:
                first = number, assignment
    return first


def _unused(rules: Sequence[Rename], used: Iterable[int]) -> tuple[str, ...]:
    """The rules without effect; of a collection only whether all of its rules are."""
    needed = set(used)
    collections = {rules[number].collection for number in needed}
    idle = (
        rule.collection or rule.text
        for number, rule in enumerate(rules)
        if number not in needed and (rule.collection is None or rule.collection not in collections)
    )
    return tuple(dict.fromkeys(idle))


def rule_error(message: str, location: str, hint: str = EXAMPLE) -> NablacError:
    """The error of a rule that is invalid, or does not apply."""
    return NablacError(Diagnostic(codes.E706, message, place=location, hint=hint))

"""Rules that map the names of a foreign weight file to parameter paths.

A rule is `theirs -> ours` or `theirs=ours`. On the left

- `{name}` matches any text without dots, and `{name}` on the right is replaced by that text;
- `*` matches any text, dots included, and the `*`s on the right are replaced by these texts in order;
- `/layer_(\\d+)\\.w/ -> layers.\\1.W`, with slashes, is a regular expression and its replacement. It is matched in
  linear time, and has no lookaround, conditions or flags.

A `^T` at the end transposes the last two axes: `layers.{i}.fc.weight -> block.{i}.dense.W ^T`. Several paths with `|`
between them split an entry into equal parts along its last axis, after a transpose: `qkv.weight -> W_q | W_k | W_v ^T`.
With `axis: 0` at the end it is split along that axis, with `flat` it is flattened first, row by row. A path after `+`
is added to what another rule assigns to it, as PyTorch's second bias: `bias_hh_l0 -> +b_i | +b_f | +b_g | +b_o`. `none`
skips an entry. The first rule that matches applies. A file of rules has one on each line; `#` begins a comment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.boundary import LARGEST_JSON, decode, folder_for_file, read_file
from runtime.name_patterns import (
    MOST_STEPS,
    Budget,
    NamePattern,
    Template,
    TooManySteps,
    compile_pattern,
    expand,
    read_template,
)

if TYPE_CHECKING:
    from compiler.types import Array

MOST_RULES = 10_000
LONGEST_PATTERN = 1_000  # characters of one side of a rule
_HOLE = re.compile(r"\{(\w*)\}|(\*)")
_EXAMPLE = "as in `layers.{i}.fc.weight -> block.{i}.dense.W ^T`"


@dataclass(frozen=True)
class Rename:
    """One rule: a pattern of foreign names, the templates of their paths, and how an entry's axes change."""

    pattern: NamePattern
    templates: tuple[Template, ...]
    turned: bool = False
    text: str = ""
    axis: int = -1  # that is split among the paths
    flat: bool = False
    added: tuple[bool, ...] = ()  # of each path, whether the entry is added to what another rule assigns to it

    def apply(self, name: str, budget: Budget) -> tuple[str, ...] | None:
        """The paths for a foreign name; None if the rule does not match. NablacError beyond the budget."""
        try:
            match = self.pattern.fullmatch(name, budget)
        except TooManySteps:
            message = f"matching names takes more than {MOST_STEPS:,} steps, at last with `{self.text}`"
            raise _wrong(message, "--rename", "write fewer `*` and repetitions, or fewer rules") from None
        return tuple(expand(template, match) for template in self.templates) if match else None


@dataclass(frozen=True)
class Entry:
    """The source of a weight: an entry of a file, transposed or not, and which of how many parts along an axis."""

    name: str
    turned: bool = False
    part: int = 0
    parts: int = 1
    axis: int = -1
    flat: bool = False
    added: tuple[Entry, ...] = ()

    def value(self, arrays: Mapping[str, Array]) -> Array:
        """The weight, with the entries that are added to it; NablacError if their shapes differ."""
        total = self.select(arrays[self.name])
        for other in self.added:
            more = other.select(arrays[other.name])
            if more.shape != total.shape:
                message = f"cannot add `{other.name}`, {list(more.shape)}, to `{self.name}`, {list(total.shape)}"
                raise _wrong(message, "--rename", "both must have the same shape")
            total = total + more
        return total

    def select(self, array: Array) -> Array:
        """This entry's part; an entry that cannot be split into equal parts stays whole, and will not fit."""
        if self.flat:
            array = array.reshape(-1)
        if self.turned and array.ndim > 1:
            array = np.swapaxes(array, -1, -2)
        if self.parts == 1 or not -array.ndim <= self.axis < array.ndim or array.shape[self.axis] % self.parts:
            return array
        return np.split(array, self.parts, axis=self.axis)[self.part]


def read_renames(rules: Iterable[str]) -> list[Rename]:
    """Parse rules of the command line, or of the files named there; NablacError for anything else."""
    renames: list[Rename] = []
    for rule in rules:
        path = Path(rule)
        if "->" not in rule and _is_file(path):
            lines = decode(read_file(path, LARGEST_JSON, pipes=True), str(path)).splitlines()
            for number, line in enumerate(lines, start=1):
                text = re.sub(r"(^|\s)#.*", "", line).strip()
                if text:
                    renames.append(read_rename(text, f"{rule}:{number}"))
        elif "->" not in rule and os.path.isdir(path):
            raise folder_for_file(rule)
        elif "->" in rule or "=" in rule:
            renames.append(read_rename(rule))
        else:
            hint = 'write a rule as "theirs -> ours", or name a file of such lines'
            raise _wrong(f"there is no file of rename rules {rule}", "--rename", hint)
    if len(renames) > MOST_RULES:
        raise _wrong(f"there are {len(renames):,} rename rules, and the limit is {MOST_RULES:,}", "--rename")
    return renames


def read_rename(rule: str, location: str = "--rename") -> Rename:
    """Parse one rule."""
    theirs, ours = _sides(rule, location)
    ours, turned, flat, axis = _axes(ours)
    if not theirs or not ours:
        raise _wrong(f"`{rule}` is not a rename rule", location)
    if max(len(theirs), len(ours)) > LONGEST_PATTERN:
        raise _wrong(f"a rename rule has {LONGEST_PATTERN} characters on a side at most", location)
    if len(theirs) > 1 and theirs[0] == theirs[-1] == "/":
        pattern, templates = theirs[1:-1], tuple(path for path, _ in _paths(ours))
    else:
        pattern = _pattern(theirs)
        templates = tuple(_template(rule, theirs, path, location) for path, _ in _paths(ours))
    try:
        compiled = compile_pattern(pattern)
        read = tuple(read_template(template, compiled) for template in templates)
    except re.error as error:
        raise _wrong(f"`{rule}` is not a rename rule: {error}", location) from None
    return Rename(compiled, read, turned, rule, axis, flat, tuple(added for _, added in _paths(ours)))


_AXES = re.compile(r"(?P<turned>\s*\^T)?(?:\s+(?:(?P<flat>flat)|axis: ?(?P<axis>-?\d)))?\s*$")


def _axes(ours: str) -> tuple[str, bool, bool, int]:
    """The paths, and the options behind them: whether to transpose, whether to flatten, and the axis to split."""
    ending = _AXES.search(ours)
    assert ending is not None  # it may be empty
    return (
        ours[: ending.start()].strip(),
        ending["turned"] is not None,
        ending["flat"] is not None,
        int(ending["axis"] or -1),
    )


def _paths(ours: str) -> tuple[tuple[str, bool], ...]:
    """Each path, and whether the entry is added to what another rule assigns to it."""
    if ours == "none":
        return ()
    paths = [path.strip() for path in ours.split("|")]
    return tuple((path.removeprefix("+").strip(), path.startswith("+")) for path in paths)


def _sides(rule: str, location: str) -> tuple[str, str]:
    sign = "->" if "->" in rule else "="
    parts = [part.strip() for part in rule.split(sign)]
    if len(parts) != 2:
        raise _wrong(f"`{rule}` is not a rename rule", location)
    return parts[0], parts[1]


def _pattern(theirs: str) -> str:
    """The regular expression of a rule's left side: a repeated name is a backreference."""
    parts: list[str] = []
    names: set[str] = set()
    end = 0
    for hole in _HOLE.finditer(theirs):
        parts.append(re.escape(theirs[end : hole.start()]))
        name = hole[1]
        if hole[2]:
            parts.append("(.+?)")
        elif not name or name[0].isdigit():
            parts.append("([^.]+)")
        else:
            parts.append(f"(?P={name})" if name in names else f"(?P<{name}>[^.]+)")
            names.add(name)
        end = hole.end()
    return "".join([*parts, re.escape(theirs[end:])])


def _template(rule: str, theirs: str, ours: str, location: str) -> str:
    """The right side as a replacement of the regular expression: names by name, stars by number."""
    names = {hole[1] for hole in _HOLE.finditer(theirs)}
    # Groups are counted from the left, named ones included, each name once.
    seen: list[str | None] = []
    for hole in _HOLE.finditer(theirs):
        if hole[2] or hole[1] not in seen:
            seen.append(None if hole[2] else hole[1])
    stars = iter([number for number, name in enumerate(seen, start=1) if name is None])

    def replacement(hole: re.Match[str]) -> str:
        if hole[2]:
            number = next(stars, None)
            if number is None:
                raise _wrong(f"`{rule}` has more `*` on the right than on the left", location)
            return f"\\g<{number}>"
        if hole[1] not in names or not hole[1] or hole[1][0].isdigit():
            raise _wrong(f"`{rule}` has `{{{hole[1]}}}` on the right only", location)
        return f"\\g<{hole[1]}>"

    parts: list[str] = []
    start = 0
    for hole in _HOLE.finditer(ours):
        parts += [ours[start : hole.start()].replace("\\", "\\\\"), replacement(hole)]
        start = hole.end()
    return "".join([*parts, ours[start:].replace("\\", "\\\\")])


def apply_renames(names: Sequence[str], rules: Sequence[Rename], location: str) -> dict[str, Entry]:
    """The entry for each path; NablacError if two entries become one path."""
    by_path: dict[str, Entry] = {}
    added: dict[str, list[Entry]] = {}
    budget = Budget()
    for name in names:
        paths, rule = _apply_first(name, rules, budget)
        for part, path in enumerate(paths):
            entry = Entry(name, rule.turned, part, len(paths), rule.axis, rule.flat) if rule else Entry(name)
            if rule is not None and rule.added[part]:
                added.setdefault(path, []).append(entry)
            elif path in by_path:
                raise _wrong(
                    f"`{by_path[path].name}` and `{name}` both become `{path}`", location, "give them different paths"
                )
            else:
                by_path[path] = entry
    for path, entries in added.items():
        if path not in by_path:
            hint = f"without the sign the entry replaces it: `{path}`"
            raise _wrong(f"`{entries[0].name}` is added to `{path}`, which no entry becomes", location, hint)
        by_path[path] = replace(by_path[path], added=tuple(entries))
    return by_path


def _apply_first(name: str, rules: Sequence[Rename], budget: Budget) -> tuple[tuple[str, ...], Rename | None]:
    """The paths of an entry by the first rule that matches, and that rule."""
    for rule in rules:
        ours = rule.apply(name, budget)
        if ours is not None:
            return ours, rule
    return (name,), None


def unused_rules(names: Sequence[str], rules: Sequence[Rename]) -> list[Rename]:
    """The rules that match no entry, or only entries that an earlier rule matches."""
    budget = Budget()
    taking = {
        next((number for number, rule in enumerate(rules) if rule.apply(name, budget) is not None), None)
        for name in names
    }
    return [rule for number, rule in enumerate(rules) if number not in taking]


def _is_file(path: Path) -> bool:
    return os.path.exists(path) and not os.path.isdir(path)


def _wrong(message: str, location: str, hint: str = _EXAMPLE) -> NablacError:
    return NablacError(Diagnostic(codes.E706, message, place=location, hint=hint))

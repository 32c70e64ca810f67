"""Rules that map the names of a foreign weight file to parameter paths: how they are written and read.

A rule is `theirs -> ours` or `theirs=ours`. On the left

- `{name}` matches any text without dots and slashes, and `{name}` on the right is replaced by that text; `{name-1}` and
  `{name+1}` count: they are the number that `{name}` matches, minus or plus another;
- `*` matches any text or none, dots included, and the `*`s on the right are replaced by these texts in order;
- `/layer_(\\d+)\\.w/ -> layers.\\1.W`, with slashes, is a regular expression and its replacement. It is matched in
  linear time, and has no lookaround, conditions or flags. `\\g<1-1>` counts.

In the texts that are replaced, slashes become dots. Behind the paths,

- `^T` swaps the last two axes: `layers.{i}.fc.weight -> block.{i}.dense.W ^T`;
- `axes: [3, 2, 0, 1]` puts the axes in that order, and makes the rule one for entries with as many axes;
- `grouped` joins the first two axes, and puts one of size 1 behind them: kernels of a grouped convolution;
- `images: [7, 7, 64]` takes the rows for the numbers of images [height, width, channels], one image after the other in
  that order, and puts them in the order [channels, height, width], as `Flatten` has them here;
- `axis: 0` is the axis that is split or joined, after that; it is the last if nothing is said;
- `flat` flattens the entry first, row by row.

Several paths with `|` between them split an entry into equal parts: `qkv.weight -> W_q | W_k | W_v ^T`. Several names
with `|` between them join entries to one weight: `q.weight | k.weight | v.weight -> qkv.W ^T`. A path after `+` is
added to what another rule assigns to it, as PyTorch's second bias: `bias_hh_l0 -> +b_i | +b_f | +b_g | +b_o`. `none`
skips an entry. `rnn.* -> lstm.* by pytorch` renames what the star matches by other rules.

The first rule that matches, and whose paths the model has, applies. A file of rules has one on each line; `#` begins a
comment. The files that come with the library are known by name: `gpt2` is `specs/renames/gpt2.rules`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from grammar.diagnostics import did_you_mean
from runtime.boundary import LARGEST_JSON, decode, folder_for_file, read_file
from runtime.name_patterns import compile_pattern, read_template
from runtime.renames import Layout, Rename, Side, rule_error
from specs import FOLDER

MOST_RULES = 10_000
LONGEST_PATTERN = 1_000  # characters of one side of a rule
_HOLE = re.compile(r"\{(\w*?)(?P<offset>[+-]\d{1,9})?\}|(?P<star>\*)")
_OPTIONS = re.compile(
    r"(?:\s*(?P<turned>\^T)|\s+axes: ?\[(?P<axes>[\d, ]+)\])?"
    r"(?:\s+(?P<grouped>grouped)|\s+images: ?\[(?P<images>[\d, ]+)\])?"
    r"(?:\s+(?:(?P<flat>flat)|axis: ?(?P<axis>-?\d)))?"
    r"(?:\s+by (?P<by>\S+))?\s*$"
)
_SHIPPED = FOLDER / "renames"
_SUFFIX = ".rules"


def read_renames(rules: Iterable[str]) -> list[Rename]:
    """Parse rules of the command line, or of the files named there; NablacError for anything else."""
    renames: list[Rename] = []
    for rule in rules:
        if "->" in rule or ("=" in rule and not os.path.exists(rule)):
            renames.append(read_rename(rule))
        else:
            renames += _read_file(rule, "--rename")
    if len(renames) > MOST_RULES:
        raise rule_error(f"there are {len(renames):,} rename rules, and the limit is {MOST_RULES:,}", "--rename")
    return renames


def shipped_rules() -> list[str]:
    """The names of the files of rules that come with the library."""
    return sorted(path.stem for path in _SHIPPED.glob(f"*{_SUFFIX}"))


def _read_file(name: str, location: str, *, nested: bool = False) -> list[Rename]:
    """The rules of a file, or of one that comes with the library, which need not all match."""
    path, collection = Path(name), None
    if not os.path.exists(path) or os.path.isdir(path):
        known = shipped_rules()
        collection = name.removesuffix(_SUFFIX)
        if collection not in known:
            if os.path.isdir(path):
                raise folder_for_file(name)
            hint = did_you_mean(name, known) or f"the library has {', '.join(known)}; a rule is written theirs -> ours"
            raise rule_error(f"there is no file of rename rules {name}", location, hint)
        path = _SHIPPED / f"{collection}{_SUFFIX}"
    lines = decode(read_file(path, LARGEST_JSON, pipes=True), str(path)).splitlines()
    rules = []
    for number, line in enumerate(lines, start=1):
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if text:
            rules.append(replace(read_rename(text, f"{name}:{number}", nested=nested), collection=collection))
    return rules


def read_rename(rule: str, location: str = "--rename", *, nested: bool = False) -> Rename:
    """Parse one rule; `nested` in a file that is named by `by`, which names no other."""
    theirs, ours = _sides(rule, location)
    options = _OPTIONS.search(ours)
    assert options is not None  # it may be empty
    ours = ours[: options.start()].strip()
    if not theirs or not ours:
        raise rule_error(f"`{rule}` is not a rename rule", location)
    if max(len(theirs), len(ours)) > LONGEST_PATTERN:
        raise rule_error(f"a rename rule has {LONGEST_PATTERN} characters on a side at most", location)
    paths = _paths(ours)
    is_expression = len(theirs) > 1 and theirs[0] == theirs[-1] == "/"
    names = [theirs] if is_expression else [name.strip() for name in theirs.split("|")]
    if len(names) > 1 and len(paths) != 1:
        raise rule_error(f"`{rule}` joins entries, and needs one path for them", location)
    layout = _layout(options, rule, location)
    inner: tuple[Rename, ...] = ()
    if options["by"] is not None:
        _check_by(rule, theirs, ours, layout, location, nested)
        inner = tuple(_read_file(options["by"], location, nested=True))
    try:
        if is_expression:
            sides = [_side(theirs[1:-1], [path for path, _ in paths])]
        else:
            counted = {hole[1] for path, _ in paths for hole in _HOLE.finditer(path) if hole["offset"]}
            sides = [
                _side(_pattern(name, counted), [_template(rule, name, path, location) for path, _ in paths])
                for name in names
            ]
    except re.error as error:
        raise rule_error(f"`{rule}` is not a rename rule: {error}", location) from None
    if inner:
        sides = [replace(sides[0], star=1)]
    return Rename(tuple(sides), layout, rule, tuple(added for _, added in paths), inner)


def _side(pattern: str, templates: list[str]) -> Side:
    compiled = compile_pattern(pattern)
    return Side(compiled, tuple(read_template(template, compiled) for template in templates))


def _layout(options: re.Match[str], rule: str, location: str) -> Layout:
    axes = tuple(int(axis) for axis in re.findall(r"\d+", options["axes"] or ""))
    if sorted(axes) != list(range(len(axes))):
        message = f"`axes: [{options['axes']}]` in `{rule}` is not an order of axes"
        raise rule_error(message, location, "it has each axis once, from 0: `axes: [3, 2, 0, 1]`")
    images = tuple(int(size) for size in re.findall(r"\d+", options["images"] or ""))
    if options["images"] is not None and (len(images) < 2 or min(images) < 1):
        message = f"`images: [{options['images']}]` in `{rule}` is not the shape of an image"
        raise rule_error(message, location, "the channels are last: `images: [7, 7, 64]`")
    return Layout(
        flat=options["flat"] is not None,
        turned=options["turned"] is not None,
        permutation=axes,
        axis=int(options["axis"] or -1),
        is_grouped=options["grouped"] is not None,
        images=images,
    )


def _check_by(rule: str, theirs: str, ours: str, layout: Layout, location: str, nested: bool) -> None:
    """NablacError for a rule `by` others that has no star on each side, or more of its own."""
    hint = "as in `rnn.* -> lstm.* by pytorch`"
    if nested:
        raise rule_error(f"`{rule}` is in a file that a rule names: it cannot name another", location, hint)
    if [hole[0] for hole in _HOLE.finditer(theirs)] != ["*"] or ours.count("*") != 1 or layout != Layout():
        raise rule_error(f"`{rule}` needs one `*` on each side, and nothing else, for what is renamed", location, hint)


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
        raise rule_error(f"`{rule}` is not a rename rule", location)
    return parts[0], parts[1]


def _pattern(theirs: str, counted: set[str]) -> str:
    """The regular expression of a rule's left side: a repeated name is a backreference."""
    parts: list[str] = []
    names: set[str] = set()
    end = 0
    for hole in _HOLE.finditer(theirs):
        parts.append(re.escape(theirs[end : hole.start()]))
        name = hole[1]
        if hole["offset"]:
            raise re.error("counting belongs to the right side")
        if hole["star"]:
            parts.append("(.*?)")
        elif not name or name[0].isdigit():
            parts.append("([^./]+)")
        else:
            text = r"\d{1,9}" if name in counted else "[^./]+"
            parts.append(f"(?P={name})" if name in names else f"(?P<{name}>{text})")
            names.add(name)
        end = hole.end()
    return "".join([*parts, re.escape(theirs[end:])])


def _template(rule: str, theirs: str, ours: str, location: str) -> str:
    """The right side as a replacement of the regular expression: names by name, stars by number."""
    names = {hole[1] for hole in _HOLE.finditer(theirs)}
    # Groups are counted from the left, named ones included, each name once.
    seen: list[str | None] = []
    for hole in _HOLE.finditer(theirs):
        if hole["star"] or hole[1] not in seen:
            seen.append(None if hole["star"] else hole[1])
    stars = iter([number for number, name in enumerate(seen, start=1) if name is None])

    def replacement(hole: re.Match[str]) -> str:
        if hole["star"]:
            number = next(stars, None)
            if number is None:
                raise rule_error(f"`{rule}` has more `*` on the right than on the left", location)
            return f"\\g<{number}>"
        if hole[1] not in names or not hole[1] or hole[1][0].isdigit():
            raise rule_error(f"`{rule}` has `{{{hole[1]}}}` on the right only", location)
        return f"\\g<{hole[1]}{hole['offset'] or ''}>"

    parts: list[str] = []
    start = 0
    for hole in _HOLE.finditer(ours):
        parts += [ours[start : hole.start()].replace("\\", "\\\\"), replacement(hole)]
        start = hole.end()
    return "".join([*parts, ours[start:].replace("\\", "\\\\")])

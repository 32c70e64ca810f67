"""What we say to a person whose input is wrong: collected, and rendered as text and JSON.

The codes and their titles are in `grammar.codes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePath
from typing import Any

from grammar.codes import Code
from grammar.limits import MOST_ERRORS
from grammar.source import Span
from grammar.visible import shortened, visible

TAB_WIDTH = 4
MOST_SHOWN = MOST_ERRORS  # those of several files may be more
MOST_NEAR = 64  # characters of a name that may be misspelt; what is longer no person wrote
MOST_KNOWN = 2_000  # names among which a near one is sought
MOST_LINE = 2_000  # characters of a line that are looked at


@dataclass(frozen=True)
class Label:
    """A second place that explains the first: where the other shape came from, say."""

    span: Span
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """One mistake: where, what, why, and what to do."""

    code: Code
    message: str
    span: Span | None = None
    note: str | None = None  # what was expected and found, in a few words, beside the underline
    labels: tuple[Label, ...] = ()
    hint: str | None = None
    place: str | None = None  # where there is no source text: a file, or a file and its entry

    @property
    def exit_code(self) -> int:
        """What a command ends with: 1 for a fault of the model's text, 2 for one of its surroundings."""
        return self.code.exit_status

    def render(self) -> str:
        """The diagnostic as plain text, ending without a newline.

        What of it comes from files is shortened, and does nothing to a terminal; `to_json` has it as it is.
        """
        note = _shown(self.note or "")
        lines = [f"error[{self.code}]: {_shown(self.message)}"]
        if self.span is not None:
            lines += _places(self.span, note, self.labels)
        elif self.place is not None:
            lines.append(f" --> {_shown(self.place)}")
            lines += [f"  = {line}" for line in note.splitlines()]
        elif note:
            lines += [f"  = {line}" for line in note.splitlines()]
        if self.hint is not None:
            lines.append(f"help: {_shown(self.hint)}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The diagnostic as JSON values; lines and columns count from 1."""
        found: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.span is not None:
            found |= _span_json(self.span)
        if self.place is not None:
            found["place"] = self.place
        found["note"] = self.note
        found["labels"] = [{**_span_json(label.span), "text": label.text} for label in self.labels]
        found["hint"] = self.hint
        return found


class NablacError(Exception):
    """One or more mistakes of the user's; never raised for a fault of our own."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        self.diagnostics = diagnostics
        super().__init__("\n\n".join(each.render() for each in diagnostics))

    @property
    def exit_code(self) -> int:
        """The highest of its diagnostics."""
        return max((each.exit_code for each in self.diagnostics), default=1)


@dataclass
class Diagnostics:
    """Mistakes as they are found; raised together, in the order of the text."""

    found: list[Diagnostic] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether as much is wrong as is told; nothing more is looked for then."""
        return len(self.found) >= MOST_ERRORS

    def add(self, diagnostic: Diagnostic) -> None:
        """Keep a diagnostic, once."""
        if diagnostic not in self.found:
            self.found.append(diagnostic)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Keep each of several, once."""
        for each in diagnostics:
            self.add(each)

    def raise_if_any(self) -> None:
        """Raise NablacError with all that were kept, in the order of the text."""
        if self.found:
            raise NablacError(*sorted(self.found, key=_place_in_text))


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest of the `known` names, if one is near."""
    return _as_hint(nearest(name, known))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The nearest of the `known` names, if one is near."""
    return _nearest(name, {each: each for each in sorted(set(known) - {name})})


def did_you_mean_file(path: str, beside: Iterable[str]) -> str | None:
    """A hint that names the file that is called most alike, whatever its folder and suffix."""
    suffix = PurePath(path).suffix
    others = sorted(set(beside) - {path}, key=lambda each: (PurePath(each).suffix != suffix, each))
    return _as_hint(_nearest(PurePath(path).stem, {PurePath(each).stem: each for each in reversed(others)}))


def _as_hint(name: str | None) -> str | None:
    return f"did you mean `{name}`?" if name is not None else None


def _nearest(name: str, known: Mapping[str, str]) -> str | None:
    """What stands for the nearest of the `known` names; capitals and underscores count for nothing."""
    if len(name) > MOST_NEAR:
        return None
    from difflib import get_close_matches  # here: only a mistake asks for it

    folded: dict[str, str] = {}
    for each, said in islice(known.items(), MOST_KNOWN):
        folded.setdefault(_folded(each), said)
    wanted = _folded(name)
    # Of a short name one letter is much: `std` is not `sgd`.
    close = get_close_matches(wanted, folded, n=1, cutoff=0.75 if len(wanted) <= 4 else 0.7)
    return folded[close[0]] if close else None


def _folded(name: str) -> str:
    return name.replace("_", "").lower() or name


def render_all(diagnostics: Sequence[Diagnostic]) -> str:
    """All diagnostics as one text, the first `MOST_SHOWN` of them in full, ending in a count."""
    shown = [each.render() for each in diagnostics[:MOST_SHOWN]]
    total = len(diagnostics)
    if total > 1:
        more = f", the first {MOST_SHOWN} shown" if total > MOST_SHOWN else ""
        shown.append(f"{total} errors{more}")
    return "\n\n".join(shown)


def _shown(text: str) -> str:
    return visible(shortened(text))


def _place_in_text(diagnostic: Diagnostic) -> tuple[str, int]:
    span = diagnostic.span
    return (span.source.name, span.start) if span is not None else ("", -1)


def _places(span: Span, note: str, labels: Sequence[Label]) -> list[str]:
    """The lines of source that a diagnostic is about, each once, with a row of marks for every place in it."""
    width = max(len(str(each.line)) for each in (span, *(label.span for label in labels)))
    gutter = " " * width
    marked: dict[tuple[str, int], list[tuple[Span, str, str]]] = {(span.source.name, span.line): [(span, "^", note)]}
    for label in labels:
        marked.setdefault((label.span.source.name, label.span.line), []).append((label.span, "-", _shown(label.text)))
    lines = [f"{gutter}--> {_shown(str(span))}"]
    source = span.source
    for marks in marked.values():
        first = marks[0][0]
        if first.source is not source:
            source = first.source
            lines.append(f"{gutter}::: {_shown(str(first))}")
        lines += _snippet(marks, width)
    return lines


def _snippet(marks: Sequence[tuple[Span, str, str]], width: int) -> list[str]:
    """One line of source and its marks; a span over several lines is marked to its first line's end."""
    first = marks[0][0]
    text = first.source.line(first.line)
    cut = max(0, first.column - MOST_LINE // 2) if len(text) > MOST_LINE else 0
    text = text[cut : cut + MOST_LINE]  # of a line that no person wrote, the part around the mistake
    shown, offset = _clip(text.expandtabs(TAB_WIDTH), len(text[: first.column - 1 - cut].expandtabs(TAB_WIDTH)))
    rows: list[str] = []
    for span, mark, note in marks:
        column = min(max(0, span.column - 1 - cut), len(text))
        before = len(text[:column].expandtabs(TAB_WIDTH))
        length = max(1, min(span.end - span.start, len(text) - column))
        after = len(text[: column + length].expandtabs(TAB_WIDTH))
        start = max(0, before - offset)
        underline = mark * max(1, min(after - before, len(shown) - start))
        rows.append(f"{' ' * start}{underline}{' ' + note if note else ''}")
    gutter = " " * width
    return [f"{gutter} |", f"{first.line:>{width}} | {shown}", *(f"{gutter} | {row}" for row in rows)]


def _clip(text: str, column: int, most: int = 160) -> tuple[str, int]:
    """At most `most` characters of a line around `column`, and how many are cut off before them."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    if len(text) <= most:
        return text, 0
    start = max(0, min(column - most // 2, len(text) - most))
    return text[start : start + most], start


def _span_json(span: Span) -> dict[str, Any]:
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": span.line,
        "column": span.column,
        "end_line": end_line,
        "end_column": end_column,
    }

"""Diagnostics of mistakes in the user's input: collected, and rendered as text and JSON.

The codes and their headings are in `grammar.codes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePath
from typing import Annotated, Any, NotRequired, TypedDict, cast

from grammar.codes import Code
from grammar.limits import MOST_ERRORS
from grammar.record import ValueRecord
from grammar.source import Span
from grammar.visible import shortened, visible

TAB_WIDTH = 4
MOST_SHOWN = MOST_ERRORS  # several files together may have more
MOST_NEAR = 64  # characters of a name that may be misspelt; longer ones are not written by hand
MOST_KNOWN = 2_000  # names that a misspelt one is compared with
MOST_LINE = 2_000  # characters of a line that are considered


class SpanJson(TypedDict):
    """Where a text stands; lines and columns count from 1."""

    file: Annotated[str, "its name; of standard input `<stdin>`"]
    line: Annotated[int, "of its first character"]
    column: Annotated[int, "of its first character"]
    end_line: Annotated[int, "of the character behind it"]
    end_column: Annotated[int, "of the character behind it"]


class LabelJson(SpanJson):
    """A second place, such as where the other shape comes from."""

    text: Annotated[str, "what is there"]


class DiagnosticJson(TypedDict):
    """A mistake. It has `file` to `end_column` if it is in a text of the language, `place` if it is anywhere else."""

    code: Annotated[str, "`nablac explain CODE` has its page"]
    severity: Annotated[str, "`error` or `warning`"]
    message: Annotated[str, "what is wrong, in a line"]
    file: NotRequired[Annotated[str, "the name of the text; of standard input `<stdin>`"]]
    line: NotRequired[Annotated[int, "of the first character, from 1"]]
    column: NotRequired[Annotated[int, "of the first character, from 1"]]
    end_line: NotRequired[Annotated[int, "of the character behind the last"]]
    end_column: NotRequired[Annotated[int, "of the character behind the last"]]
    place: NotRequired[Annotated[str, "a file, an option or an argument"]]
    note: Annotated[str | None, "what is at the place"]
    labels: Annotated[list[LabelJson], "other places that explain it"]
    hint: Annotated[str | None, "what to do"]


class ErrorsJson(TypedDict):
    """What a command prints instead of its result if it ends with an error; the exit status is not 0."""

    errors: Annotated[list[DiagnosticJson], "all mistakes"]


class Label(ValueRecord):
    """A second span that explains the first, such as where the other shape comes from."""

    span: Span
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """One mistake: where it is, what is wrong, why, and what to do."""

    code: Code
    message: str
    span: Span | None = None
    note: str | None = None  # what was expected, or why it is wrong, in a few words beside the underline
    labels: tuple[Label, ...] = ()
    hint: str | None = None
    place: str | None = None  # the location where there is no source text: a file, or a file and its entry

    @property
    def exit_code(self) -> int:
        """The exit status of a command: 1 for a mistake in the model's text, 2 for one in files or surroundings."""
        return self.code.exit_status

    def render(self) -> str:
        """The diagnostic as plain text, ending without a newline.

        Text from files is shortened, and its control characters are escaped; `to_json` keeps it unchanged.
        """
        note = _shown(self.note or "")
        lines = [f"{self.code.severity}[{self.code}]: {_shown(self.message)}"]
        if self.span is not None:
            lines += _excerpts(self.span, note, self.labels)
        elif self.place is not None:
            lines.append(f" --> {_shown(self.place)}")
            lines += [f"  = {line}" for line in note.splitlines()]
        elif note:
            lines += [f"  = {line}" for line in note.splitlines()]
        if self.hint is not None:
            lines.append(f"help: {_shown(self.hint)}")
        return "\n".join(lines)

    def to_json(self) -> DiagnosticJson:
        """The diagnostic as JSON values; lines and columns count from 1."""
        values: dict[str, Any] = {"code": self.code, "severity": self.code.severity, "message": self.message}
        if self.span is not None:
            values |= _span_json(self.span)
        if self.place is not None:
            values["place"] = self.place
        values["note"] = self.note
        values["labels"] = [{**_span_json(label.span), "text": label.text} for label in self.labels]
        values["hint"] = self.hint
        return cast("DiagnosticJson", values)


class NablacError(Exception):
    """One or more mistakes of the user; never raised for a bug in nablac."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        self.diagnostics = diagnostics
        super().__init__("\n\n".join(diagnostic.render() for diagnostic in diagnostics))

    def _render_traceback_(self, *_: object) -> list[str]:
        """What IPython and notebooks show instead of a traceback: the user's calls, and the diagnostics."""
        from grammar.user_calls import format_calls

        return [f"{type(self).__name__}\n{format_calls(self.__traceback__)}\n{self}"]

    def __reduce__(self) -> tuple[Any, ...]:
        """What `pickle` needs: the error of a worker process is raised in the process that waits for it."""
        return _restored, (type(self), self.diagnostics, self.args), self.__dict__

    @property
    def exit_code(self) -> int:
        """The highest exit status of its diagnostics."""
        return max((diagnostic.exit_code for diagnostic in self.diagnostics), default=1)


def _restored(kind: type[NablacError], diagnostics: tuple[Diagnostic, ...], args: tuple[str, ...]) -> NablacError:
    error = kind.__new__(kind)
    error.diagnostics, error.args = diagnostics, args
    return error


@dataclass
class Diagnostics:
    """Collects mistakes, to raise them together in the order of the text."""

    reported: list[Diagnostic] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether as many mistakes are collected as are shown, so that checking can stop."""
        return len(self.reported) >= MOST_ERRORS

    def add(self, diagnostic: Diagnostic) -> None:
        """Add a diagnostic that is not there yet."""
        if diagnostic not in self.reported:
            self.reported.append(diagnostic)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Add the diagnostics that are not there yet."""
        for diagnostic in diagnostics:
            self.add(diagnostic)

    def raise_if_any(self) -> None:
        """Raise NablacError with all diagnostics, in the order of the text, if there are any."""
        if self.reported:
            raise NablacError(*self.in_order())

    def in_order(self) -> list[Diagnostic]:
        """The diagnostics in the order of the text."""
        return sorted(self.reported, key=_position_in_text)


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest of the `known` names, if one is near."""
    return _as_hint(nearest(name, known))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The nearest of the `known` names, if one is near."""
    return _nearest(name, {candidate: candidate for candidate in sorted(set(known) - {name})})


def did_you_mean_file(path: str, beside: Iterable[str]) -> str | None:
    """A hint with the file of the most similar name, whatever its folder and suffix."""
    suffix = PurePath(path).suffix
    others = sorted(set(beside) - {path}, key=lambda other: (PurePath(other).suffix != suffix, other))
    return _as_hint(_nearest(PurePath(path).stem, {PurePath(other).stem: other for other in reversed(others)}))


def _as_hint(name: str | None) -> str | None:
    return f"did you mean `{name}`?" if name is not None else None


def _nearest(name: str, known: Mapping[str, str]) -> str | None:
    """The value of the nearest key of `known`; case and underscores are ignored."""
    if len(name) > MOST_NEAR:
        return None
    from difflib import get_close_matches  # imported here: only a mistake needs it

    folded: dict[str, str] = {}
    for candidate, value in islice(known.items(), MOST_KNOWN):
        folded.setdefault(_folded(candidate), value)
    typed = _folded(name)
    # One letter of a short name matters more: `std` is not `sgd`.
    close = get_close_matches(typed, folded, n=1, cutoff=0.75 if len(typed) <= 4 else 0.7)
    return folded[close[0]] if close else None


def _folded(name: str) -> str:
    return name.replace("_", "").lower() or name


def render_all(diagnostics: Sequence[Diagnostic]) -> str:
    """All diagnostics as one text: the first `MOST_SHOWN` of them, and their number."""
    shown = [diagnostic.render() for diagnostic in diagnostics[:MOST_SHOWN]]
    total = len(diagnostics)
    if total > 1:
        more = f", the first {MOST_SHOWN} shown" if total > MOST_SHOWN else ""
        noun = "errors" if any(diagnostic.code.severity == "error" for diagnostic in diagnostics) else "warnings"
        shown.append(f"{total} {noun}{more}")
    return "\n\n".join(shown)


def _shown(text: str) -> str:
    return visible(shortened(text))


def _position_in_text(diagnostic: Diagnostic) -> tuple[str, int]:
    span = diagnostic.span
    return (span.source.name, span.start) if span is not None else ("", -1)


def _excerpts(span: Span, note: str, labels: Sequence[Label]) -> list[str]:
    """The source lines of a diagnostic, each shown once, with a row of marks for every span in it."""
    width = max(len(str(shown.line)) for shown in (span, *(label.span for label in labels)))
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
    """One source line and its marks; a span of several lines is marked to the end of its first line."""
    first = marks[0][0]
    text = first.source.line(first.line)
    cut = max(0, first.column - MOST_LINE // 2) if len(text) > MOST_LINE else 0
    text = text[cut : cut + MOST_LINE]  # of a very long line, the part around the mistake
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
    """At most `most` characters of a line around `column`, and the number of characters cut off before them."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    if len(text) <= most:
        return text, 0
    start = max(0, min(column - most // 2, len(text) - most))
    return text[start : start + most], start


def _span_json(span: Span) -> SpanJson:
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": span.line,
        "column": span.column,
        "end_line": end_line,
        "end_column": end_column,
    }

"""Names of classes that are numbers, or true and false: programs write these in several ways, so values are compared.

pandas writes whole numbers as floats where a cell of their column is empty: 101.0 is the class 101, and so is 1.01e2.
The classes of a column are numbers if all of them are, and none begins with a 0, as the codes 007 and 00501 do, which
stay texts. In such a column what stands for a missing number is an empty cell. Columns of true and false are like it,
and see `runtime.data.truth_values`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, InvalidOperation

from runtime.data.categories import UNSEEN
from runtime.data.csv_file import Format, Report
from runtime.data.missing_cells import is_missing
from runtime.data.truth_values import are_truths, is_truth, truth_names, truth_number

_CODE = re.compile(r"[+-]?0\d")  # digits that count nothing
_MOST_SHOWN = 6
_MOST_KEPT = 1 << 12  # distinct cells of a column


def number_name(cell: str, format: Format) -> str | None:
    """The one way to write the number in a cell; None for what is no number, and for a code that begins with 0."""
    text = cell.strip()
    if format.number(text) is None or _CODE.match(text) is not None:
        return None
    plain = format.plain(text)
    try:
        number = Decimal(plain or "").normalize(Context(prec=len(text)))  # exact, also beyond 2 ** 53
    except InvalidOperation:  # an exponent that has no limits, as in 0e462097431906509019562988736854
        return None
    return format_number(number)


def format_number(number: Decimal) -> str:
    """A number in plain digits, without a sign before 0."""
    return f"{number:f}" if number else "0"


def class_names(texts: Collection[str], format: Format) -> tuple[str, ...]:
    """The names of the classes of a column with these cells, in order; a value has one name however it is written."""
    if are_truths(texts):
        return tuple(truth_names(texts).values())
    if not _are_numbers(texts, format):
        return tuple(sorted(texts))
    return tuple(sorted({name for text in texts if not is_missing(text) and (name := _value_name(text, format))}))


def _are_numbers(names: Collection[str], format: Format) -> bool:
    """Whether the names of classes are numbers, but for those that stand for a missing one; some may be true or false.

    Those that all are true or false are no numbers.
    """
    present = [name for name in names if not is_missing(name)]
    return all(_value_name(name, format) is not None for name in present) and not all(map(is_truth, present))


def _value_name(cell: str, format: Format) -> str | None:
    """The one way to write a number, of which true and false are 1 and 0; None for what is no number, and for codes."""
    truth = truth_number(cell)
    return number_name(cell, format) if truth is None else str(truth)


class ClassNumbers:
    """The number of the class in a cell, of a column with these known `names` in the order of their numbers.

    What is not known is an unseen class where there is an entry for those; with `takes_empty` so is an empty cell.
    """

    def __init__(self, names: Sequence[str], format: Format, takes_empty: bool) -> None:
        self.known = {name: float(number) for number, name in enumerate(names)}
        self.names, self.format, self.takes_empty = names, format, takes_empty
        seen = [name for name in names if name != UNSEEN]
        self.truths = {str(number): name for number, name in truth_names(seen).items()} if are_truths(seen) else {}
        self.are_numbers = _are_numbers(seen, Format())
        self._of: dict[str, float | None] = {}

    def number(self, cell: str) -> float | None:
        """The number of the class; None for a cell without one."""
        if cell not in self._of:
            if len(self._of) == _MOST_KEPT:  # cells that all differ are of no class
                self._of.clear()
            name = self._name(cell)
            unseen = self.known.get(UNSEEN) if name or self.takes_empty else None
            self._of[cell] = self.known.get(name, unseen) if name else unseen
        return self._of[cell]

    def is_empty(self, cell: str) -> bool:
        """Whether a cell has no class at all."""
        return not self._name(cell)

    def unseen(self, cell: str) -> str:
        """The name of a class without an entry of its own; empty for other cells."""
        name = self._name(cell)
        return "" if name in self.known else name

    def _name(self, cell: str) -> str:
        text = cell.strip()
        if self.truths and text not in self.known:
            return self.truths.get(_value_name(text, self.format) or text, text)
        if not self.are_numbers:
            return text
        return "" if is_missing(text) else _value_name(text, self.format) or text


@dataclass
class UnseenClasses:
    """Counts the rows whose classes the training has no entry for, by column."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)  # where the first such row of each column is

    def add(self, column: str, name: str, location: str) -> None:
        """A row with a class of this name."""
        counts = self.counts.setdefault(column, Counter())
        self.first.setdefault(column, location)
        counts[name if name in counts or len(counts) < _MOST_KEPT else ""] += 1

    def report(self, report: Report) -> None:
        """Note the rows of each column."""
        for column, counts in self.counts.items():
            listed = [f"`{text[:40]}` ({count:,})" for text, count in counts.most_common() if text]
            shown = ", ".join(listed[:_MOST_SHOWN]) + (", .." if len(listed) > _MOST_SHOWN else "")
            rows = "1 row has a class" if counts.total() == 1 else f"{counts.total():,} rows have a class"
            message = f"{rows} of `{column}` that training has not seen, or too seldom: {shown}"
            report.note(self.first[column], message)

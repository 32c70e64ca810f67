"""A spec that trains on a user's table: which columns it reads, and what it predicts."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from compiler.elaborate.reserved import reserved_names
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from grammar.parser import parse
from grammar.printer import print_file
from grammar.source import Source
from grammar.visible import shell_word
from runtime.data.csv_file import Format, read_blocks
from runtime.data.text_lines import decoded_lines

_SAMPLE = 2_000  # rows that are looked at
_MOST_CLASSES = 20  # of a column that is taken for classes
_IDENTIFIER = re.compile(r"(?i:^(unnamed: 0|index)?$|(^|[\W_])id$)|[a-z]I[Dd]$")  # names of columns
_LENGTH, _WORDS = 100, 5_000  # tokens of a text, and of a vocabulary
# Names that the spec uses
_TAKEN = {"features", "hidden", "rate", "label", "value", "logits", "probability", "y", "concat", "sum", "cast"}
_TAKEN |= {"unsqueeze", "softmax", "relu", "seed", "step", "mse", "mae", "cross_entropy", "accuracy", "adam"}
_SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Column:
    """A column of a table: whether its cells are numbers, or number the rows, and its distinct cells."""

    name: str
    is_numeric: bool
    numbers_rows: bool
    has_gaps: bool
    values: frozenset[str]
    has_sentences: bool = False  # whether most cells hold several words

    @property
    def is_classes(self) -> bool:
        """Whether a prediction of it is the choice of a class: of texts, or of the numbers 0, 1, ..."""
        few = 2 <= len(self.values) <= _MOST_CLASSES
        return few and (not self.is_numeric or self.values == {str(number) for number in range(len(self.values))})

    @property
    def is_input(self) -> bool:
        """Whether an input may have its name, which is then the column that it takes."""
        if re.fullmatch(r"[a-z]\w*", self.name, re.ASCII) is None or self.name in _TAKEN:
            return False
        try:
            tree = parse(Source("", f"model M {{ input {self.name}: i64[batch]; output {self.name} }}"))
        except NablacError:  # a keyword
            return False
        return not reserved_names(tree)

    @property
    def is_text(self) -> bool:
        """Whether its cells are texts to read: of several words, and hardly one like another."""
        return not self.has_gaps and self.has_sentences and not self.is_classes and self.is_input


class _Strict:
    """Refuses broken rows, as training does."""

    def report_broken(self, location: str, message: str, hint: str | None = None) -> None:
        raise NablacError(Diagnostic(codes.E821, message, place=location, hint=hint))

    def note(self, location: str, message: str) -> None:
        """What is changed on reading, which training says too."""


@dataclass(frozen=True)
class FirstSpec:
    """The text of a spec, and why it leaves out columns."""

    text: str
    remarks: tuple[str, ...]


def spec_for_table(path: Path, target: str | None, content: bytes) -> FirstSpec:
    """A spec that predicts the column `target`, or the last one, from the others.

    Texts of several words become tokens, and few texts classes. Columns of other texts, with missing cells, or that
    number the rows are left out, and named in a comment; what numbers the rows is kept if it is all there is to predict
    from. NablacError if nothing is left.
    """
    format = _format_of(content)
    columns = _columns(path, content, format)
    usable = [column for column in columns if not column.has_gaps and (column.is_numeric or column.is_classes)]
    chosen = _target(path, columns, usable, target)
    numeric = [column for column in usable if column is not chosen and column.is_numeric]
    others = [column for column in columns if column is not chosen]
    classes = [column for column in others if column in usable and not column.is_numeric and column.is_input]
    texts = [column for column in others if column.is_text]
    inputs = [column for column in numeric if not column.numbers_rows]
    inputs += [] if inputs or classes or texts else numeric
    inputs += [*classes, *texts]
    if not inputs:
        message = f"{path} has no column of numbers, classes or texts to predict `{chosen.name}` from"
        raise NablacError(Diagnostic(codes.E823, message, place=str(path), hint="`--target` chooses another column"))
    left = [column for column in others if column not in inputs]
    reasons = {
        "it numbers the rows": [column.name for column in left if column in numeric],
        "texts or missing cells": [column.name for column in left if column not in numeric],
    }
    remarks = tuple(f"left out ({reason}): {_comment(names)}" for reason, names in reasons.items() if names)
    text = _spec(path, format, chosen, inputs, remarks)
    return FirstSpec(print_file(parse(Source(str(path.with_suffix(".model")), text))), remarks)


def _format_of(content: bytes) -> Format:
    """The dialect of a table by its first line: the separator that is in it most often."""
    first = content.lstrip().split(b"\n", 1)[0]
    separator = max(_SEPARATORS, key=lambda sign: first.count(sign.encode()))
    numbers = re.search(rb"\d,\d", content[:100_000]) if separator != "," else None
    return Format(separator, "," if numbers and not re.search(rb"\d\.\d", content[:100_000]) else ".")


def _columns(path: Path, content: bytes, format: Format) -> list[Column]:
    lines = decoded_lines(io.BytesIO(content), str(path), "a CSV file")
    table = next(read_blocks(lines, str(path), format, _Strict(), _SAMPLE))
    if not table.lines:
        raise NablacError(Diagnostic(codes.E823, f"{path} has no rows", place=str(path)))
    columns = []
    for name, cells in zip(table.names, table.cells, strict=True):
        present = [cell.strip() for cell in cells if not _is_missing(cell, format)]
        is_numeric = bool(present) and all(format.number(cell) is not None for cell in present)
        has_gaps = len(present) < len(cells)
        numbers_rows = not has_gaps and _numbers_rows(name, present)
        has_sentences = not is_numeric and 2 * sum(" " in cell for cell in present) > len(present)
        columns.append(Column(name, is_numeric, numbers_rows, has_gaps, frozenset(present), has_sentences))
    return columns


def _numbers_rows(name: str, cells: list[str]) -> bool:
    """Whether whole numbers, all different, count the rows from 0 or 1, or are identifiers by their column's name."""
    if len(cells) < 3 or len(set(cells)) < len(cells) or not all(cell.isascii() and cell.isdigit() for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    counts = numbers[0] in (0, 1) and all(after == before + 1 for before, after in pairwise(numbers))
    return counts or _IDENTIFIER.search(name.strip()) is not None


def _is_missing(cell: str, format: Format) -> bool:
    """Whether a cell is empty or `nan`: numbers that training refuses."""
    return not cell.strip() or (format.is_numeric(cell) and format.number(cell) is None)


def _target(path: Path, columns: list[Column], usable: list[Column], target: str | None) -> Column:
    """The column to predict; NablacError if it is not there, or cannot be predicted."""
    names = {column.name: column for column in columns}
    if target is None:
        if usable:
            return next((column for column in reversed(usable) if not column.numbers_rows), usable[-1])
        message = f"{path} has no column that could be predicted: all have missing cells, or texts that differ"
        raise NablacError(Diagnostic(codes.E823, message, place=str(path)))
    if target not in names:
        hint = did_you_mean(target, names) or f"its columns are {', '.join(f'`{name}`' for name in names)}"
        raise NablacError(Diagnostic(codes.E822, f"{path} has no column `{target}`", place=str(path), hint=hint))
    if names[target] not in usable:
        why = "has missing cells" if names[target].has_gaps else f"has more than {_MOST_CLASSES} different texts"
        raise NablacError(Diagnostic(codes.E823, f"the column `{target}` of {path} {why}", place=str(path)))
    return names[target]


@dataclass(frozen=True)
class _Inputs:
    """How a model reads columns: its inputs, equations before the layers, what these read, and the stages for it."""

    declared: str
    equations: str
    read: str
    stages: str

    @staticmethod
    def of(columns: list[Column]) -> _Inputs:
        """All numbers in one input, and each column of classes or of texts in its own."""
        numbers = [column for column in columns if column.is_numeric]
        classes = [column for column in columns if column.is_classes and not column.is_numeric]
        texts = [column for column in columns if column.is_text]
        declared = [f"features: [batch, {len(numbers)}]"] if numbers else []
        declared += [f"{column.name}: i64[batch]" for column in classes]
        dims = ["T"] if len(texts) == 1 else [f"T{number}" for number in range(1, len(texts) + 1)]
        declared += [f"{column.name}: i64[batch, {dim}]" for column, dim in zip(texts, dims, strict=True)]
        read = ["features"] if numbers else []
        read += [f"Embedding({len(column.values) + 1}, 4)({column.name})" for column in classes]
        equations = ""
        for name in (column.name for column in texts):
            equations += f"    {name}_known = unsqueeze(cast({name} != 0, f32), -1)  # 0 is padding\n"
            equations += f"    {name}_mean = sum(Embedding({_WORDS}, 16)({name}) * {name}_known, axis: 1)"
            equations += f" / sum({name}_known, axis: 1)\n"
            read.append(f"{name}_mean")
        stages = f" -> tokens(columns: {_listed(texts)}, length: {_LENGTH}, most: {_WORDS})" if texts else ""
        stages += f" -> categories({_listed(classes)})" if classes else ""
        joined = read[0] if len(read) == 1 else f"concat([{', '.join(read)}], axis: -1)"
        return _Inputs(", ".join(declared), equations, joined, stages)


def _listed(columns: list[Column]) -> str:
    return f"[{', '.join(_quoted(column.name) for column in columns)}]"


def _spec(path: Path, format: Format, target: Column, inputs: list[Column], remarks: tuple[str, ...]) -> str:
    name = "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", path.stem)) or "Table"
    name = name if name[0].isalpha() else f"Table{name}"
    model, count = _comment([path.with_suffix(".model").name]), len(inputs)
    options = f", separator: {_quoted(format.separator)}" if format.separator != "," else ""
    options += ', decimal: ","' if format.decimal == "," else ""
    read = _Inputs.of(inputs)
    columns = f"inputs: {_listed(inputs)}, targets: [{_quoted(target.name)}]"
    what = " of numbers" if all(column.is_numeric for column in inputs) else ""
    others = f"the {count} columns" if count > 1 else "the column"
    missing = "".join(f"# {remark[0].upper()}{remark[1:]}.\n" for remark in remarks)
    missing = f"#\n{missing}" if missing else ""
    if target.is_classes:
        size = len(target.values)
        output = f"Dense({size})\n    output logits\n    output probability = softmax(logits, axis: -1)"
        result, declared = "logits", "target label: i64[batch]"
        loss, metric, after = "cross_entropy(logits, label)", "accuracy(logits, label)", f"  # one of {size} classes"
    else:
        output, result, declared = "Dense(1)\n    output y", "y", "target value: [batch, 1]"
        loss, metric, after = "mse(y, value)", "mae(y, value)", ""
    return f"""# Predicts {_comment([target.name])} from {others}{what} in {_comment([path.name])}.
#
#   nablac train {shell_word(model)}
#   nablac eval runs/{name.lower()}/1
#   nablac predict runs/{name.lower()}/1 {shell_word(_comment([path.name]))}
{missing}
model {name}(hidden = 32, rate = 0.1) {{
    \"\"\"Two layers of `hidden` units.\"\"\"
    input {read.declared}

{read.equations}    {result} = {read.read} -> Dense(hidden, relu) -> Dropout(rate) -> Dense(hidden, relu) -> {output}
}}

train {name} {{
    {declared}{after}
    loss {loss}
    metric {metric}
    optimizer adam(lr: 1e-3)
    epochs 100
    patience 20  # epochs without improvement, after which it stops
    batch 32
    validation 0.2
    data csv({_quoted(path.name)}{options}){read.stages} -> standardize() -> columns({columns})
}}
"""


def _quoted(text: str) -> str:
    """A string of the language."""
    for sign, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(sign, escape)
    return f'"{text}"'


def _comment(names: list[str]) -> str:
    """Names in a comment, each on one line."""
    return ", ".join(" ".join(name.split()) for name in names)

"""How a first spec reads the columns of a table: numbers, classes and texts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from compiler.elaborate.builtins.language_names import builtin_names
from compiler.elaborate.reserved import reserved_names
from grammar.diagnostics import NablacError
from grammar.parser import parse
from grammar.source import Source
from nablac.commands.table_columns import Column, quoted

_LENGTH, _WORDS = 100, 5_000  # tokens of a text, and of a vocabulary
# Names that the spec declares, or takes from the library
_RESERVED = {"features", "hidden", "rate", "label", "value", "logits", "probability", "y", "seed", "step"}
_RESERVED |= {"mse", "mae", "cross_entropy", "accuracy", "adam", "batch"}


def is_input(column: Column) -> bool:
    """Whether an input may have the name of the column, which it then takes."""
    name = column.name
    if re.fullmatch(r"[a-z]\w*", name, re.ASCII) is None or name in _RESERVED or name in builtin_names():
        return False
    try:
        tree = parse(Source("", f"model M {{ input {name}: i64[batch]; output {name} }}"))
    except NablacError:  # a keyword
        return False
    return not reserved_names(tree)


def is_text(column: Column) -> bool:
    """Whether its cells are texts to read: of several words, and hardly one like another."""
    return not column.has_gaps and column.has_sentences and not column.is_classes and is_input(column)


@dataclass(frozen=True)
class InputColumns:
    """How a model reads columns: its inputs, equations before the layers, what these read, and the stages for it."""

    declared: str
    equations: str
    joined: str
    stages: str

    @staticmethod
    def of(columns: list[Column]) -> InputColumns:
        """All numbers in one input, and each column of classes or of texts in its own."""
        numbers = [column for column in columns if column.is_numeric]
        classes = [column for column in columns if column.is_classes and not column.is_numeric]
        texts = [column for column in columns if is_text(column)]
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
        stages = f" -> tokens(columns: {listed(texts)}, length: {_LENGTH}, most: {_WORDS})" if texts else ""
        stages += f" -> categories({listed(classes)})" if classes else ""
        joined = read[0] if len(read) == 1 else f"concat([{', '.join(read)}], axis: -1)"
        return InputColumns(", ".join(declared), equations, joined, stages)


def listed(columns: list[Column]) -> str:
    """Their names as a list of the language."""
    return f"[{', '.join(quoted(column.name) for column in columns)}]"

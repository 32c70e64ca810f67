"""How a first spec reads the columns of a table: numbers, classes and texts."""

from __future__ import annotations

from dataclasses import dataclass

from nablac.commands.free_names import FreeNames, may_be_input
from nablac.commands.table_columns import Column, quoted

_LENGTH, _WORDS = 100, 5_000  # tokens of a text, and of a vocabulary


def is_text(column: Column) -> bool:
    """Whether its cells are texts to read: of several words, and hardly one like another."""
    return not column.has_gaps and column.has_sentences and not column.is_classes


def is_misnamed(column: Column) -> bool:
    """Whether a column of classes or texts cannot be read, as an input of its own takes it by its name."""
    has_own = is_text(column) or (column.is_usable and not column.is_numeric)
    return has_own and not may_be_input(column.name)


@dataclass(frozen=True)
class InputColumns:
    """How a model reads columns: its inputs, equations before the layers, what these read, and the stages for it."""

    declared: str
    equations: str
    joined: str
    stages: str

    @staticmethod
    def of(columns: list[Column], names: FreeNames) -> InputColumns:
        """All numbers in one input, and each column of classes or of texts in its own, whose names are taken."""
        numbers = [column for column in columns if column.is_numeric]
        classes = [column for column in columns if column.is_classes and not column.is_numeric]
        texts = [column for column in columns if is_text(column)]
        # An input with the name of a column would take that column alone.
        features = names.take("features", but=[column.name for column in columns])
        declared = [f"{features}: [batch, {len(numbers)}]"] if numbers else []
        declared += [f"{column.name}: i64[batch]" for column in classes]
        dims = ["T"] if len(texts) == 1 else [f"T{number}" for number in range(1, len(texts) + 1)]
        declared += [f"{column.name}: i64[batch, {names.take(dim)}]" for column, dim in zip(texts, dims, strict=True)]
        read = [features] if numbers else []
        read += [f"Embedding({len(column.values) + 1}, 4)({column.name})" for column in classes]
        equations = ""
        for name in (column.name for column in texts):
            known, mean = names.take(f"{name}_known"), names.take(f"{name}_mean")
            equations += f"    {known} = unsqueeze(cast({name} != 0, f32), -1)  # 0 is padding\n"
            equations += f"    {mean} = sum(Embedding({_WORDS}, 16)({name}) * {known}, axis: 1)"
            equations += f" / sum({known}, axis: 1)\n"
            read.append(mean)
        stages = f" -> tokens(columns: {listed(texts)}, length: {_LENGTH}, most: {_WORDS})" if texts else ""
        stages += f" -> categories({listed(classes)})" if classes else ""
        joined = read[0] if len(read) == 1 else f"concat([{', '.join(read)}], axis: -1)"
        return InputColumns(", ".join(declared), equations, joined, stages)


def listed(columns: list[Column]) -> str:
    """Their names as a list of the language."""
    return f"[{', '.join(quoted(column.name) for column in columns)}]"

"""Predictions for texts: the lines of text files, and columns of texts in tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from compiler.dims import Dim
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from grammar.visible import shortened
from runtime.data.pairs import has_names
from runtime.data.table_blocks import Block
from runtime.prediction.answers import Answers
from runtime.prediction.findings import Findings
from runtime.prediction.predictor import Predictor
from runtime.prediction.table_rows import Columns, Keep, beside_predictions, kept_names
from runtime.text.coding import TextLimit, tokens_of
from runtime.text.roles import whole
from runtime.text.tokenizers import PADDING
from runtime.text_inputs import token_batches

TEXT = "text"
_AT_ONCE = 256  # texts, of which those of one length share a batch, or all where the model masks padding


@dataclass(frozen=True)
class Texts:
    """Some texts, where each is from, and the columns beside them."""

    texts: list[str]
    locations: list[str]
    beside: Columns
    path: str


def text_input(predictor: Predictor) -> str | None:
    """The input that takes texts whose class or number a model tells; None of any other model."""
    stage = predictor.recipe.stage("tokens")
    if stage is None or stage.arguments.get("target") == "text" or len(predictor.types) != 1:
        return None
    source = predictor.recipe.source
    ((name, type),) = predictor.types.items()
    return name if type.rank == 2 and source is not None and source.name == "pairs" else None


def texts_of_lines(lines: Iterable[tuple[int, str]], path: str, predictor: Predictor) -> Iterator[Texts]:
    """A text a line; of lines as those of the training, with a separator, the first of the two sides."""
    source = predictor.recipe.source
    arguments: dict[str, Any] = source.arguments if source is not None else {}
    separator, sides = str(arguments.get("separator", "\t")), arguments.get("columns") or [0, 1]
    of_table = has_names(arguments)
    waiting = iter(lines)
    while part := list(islice(waiting, _AT_ONCE)):
        cells = [line.split(separator) for _, line in part]
        texts = [
            line if of_table or len(row) <= max(sides) else row[sides[0]].strip()
            for row, (_, line) in zip(cells, part, strict=True)
        ]
        locations = [f"{path}:{number}" for number, _ in part]
        yield Texts(texts, locations, {TEXT: texts}, path)


def texts_of_table(
    blocks: Iterable[Block], column: str | None, usual: str, keep: Keep, findings: Findings
) -> Iterator[Texts]:
    """The texts of a column: the one that is named, the one with the `usual` name, or the only one."""
    name = column
    for block in blocks:
        rows = block.rows
        if name is None:
            name = _only_texts(block, usual)
            if name != usual:  # a name that is a text shows that the table has no row of names
                findings.note(rows.path, f"the texts are those of column `{shortened(name)}`")
        if name not in rows.cells or name in rows.refused:
            hint = did_you_mean(name, rows.cells) or f"the columns are {', '.join(rows.cells)}"
            message = f"{rows.path} has no column `{name}`"
            raise NablacError(Diagnostic(codes.E822, message, place=rows.path, hint=hint))
        beside = {kept: list(block.values[kept]) for kept in kept_names(keep, block.values, ())}
        locations = [f"{rows.path}:{line}, column `{name}`" for line in rows.lines]
        yield Texts(list(rows.cells[name]), locations, beside, rows.path)


def usual_column(predictor: Predictor) -> str:
    """The column of texts of the training data, if it has names; else `text`."""
    source = predictor.recipe.source
    return str(source.arguments["columns"][0]) if source is not None and has_names(source.arguments) else TEXT


def _only_texts(block: Block, usual: str) -> str:
    """The column that holds the texts, where no other can; NablacError where it has to be named."""
    rows = block.rows
    if usual in rows.cells or len(rows.cells) == 1:
        return usual if usual in rows.cells else next(iter(rows.cells))
    texts = [
        name
        for name, cells in rows.cells.items()
        if name not in rows.refused and any(" " in cell.strip() for cell in cells)
    ]
    if len(texts) != 1:
        message = f"which column of {rows.path} holds the texts is not known: {', '.join(rows.cells)}"
        raise NablacError(Diagnostic(codes.E822, message, place=rows.path, hint="`--column NAME` says it"))
    return texts[0]


def predict_texts(
    predictor: Predictor, parts: Iterable[Texts], name: str, answers: Answers, findings: Findings
) -> Iterator[Columns]:
    """Results for some texts at a time, beside the texts or the columns that they stand among."""
    type = predictor.types[name]
    tokenizer = predictor.recipe.fitted.tokenizer
    if tokenizer is None:
        message, hint = "the model was trained on texts, and its tokenizer is not there", "pass `--tokenizer FILE`"
        raise NablacError(Diagnostic(codes.E853, message, place=predictor.name, hint=hint))
    fixed = type.shape[1]
    most = predictor.longest.get(name) if isinstance(fixed, Dim) else fixed
    limit = TextLimit(f"`{name}`", most)
    for part in parts:
        rows: list[list[int]] = []
        kept: list[int] = []
        for number, text in enumerate(part.texts):
            try:
                rows.append(tokens_of(tokenizer, text, whole, part.locations[number], limit))
                kept.append(number)
            except NablacError as error:
                findings.leave_out(error, part.locations[number])
        if not rows:
            continue
        least, unread = predictor.least.get(name, 1), predictor.unread_padding
        batches = token_batches(rows, name, type, tokenizer.padding or PADDING, least, unread)
        predictions = answers.columns(batches.run(predictor.run), len(rows))
        beside: Columns = {column: [values[row] for row in kept] for column, values in part.beside.items()}
        yield beside_predictions(beside, predictions, part.path, findings)

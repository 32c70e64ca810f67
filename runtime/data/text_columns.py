"""Columns of texts in a table: what the stage `tokens` requests of them, and the tokens of a text.

Training and inference read a cell alike: a text longer than `length` tokens is cut, an empty one has the unknown token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.elaborate.data import listed_names
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError

if TYPE_CHECKING:
    from grammar.source import Span
    from runtime.text.tokenizers import Tokenizer


@dataclass(frozen=True)
class TextColumns:
    """A request for the tokens of columns, which share a vocabulary of at most `most` tokens.

    With `allows_empty` a missing text is read as one without words, and else its row is broken.
    """

    columns: tuple[str, ...]
    length: int
    most: int
    kind: str = "words"
    allows_empty: bool = False
    span: Span | None = None

    @staticmethod
    def of(arguments: Mapping[str, Any], span: Span | None = None) -> TextColumns:
        """The request of a stage with these arguments; those of a run may lack the `kind`."""
        columns = tuple(listed_names(arguments["columns"]))
        sizes = int(arguments["length"]), int(arguments["most"])
        return TextColumns(columns, *sizes, arguments.get("kind", "words"), bool(arguments["empty"]), span)

    def row_of(self, tokenizer: Tokenizer, text: str, location: str) -> tuple[list[int], bool]:
        """The tokens of a cell with the special ones around them, and whether the text was cut.

        NablacError (E850) for a text without a token where nothing stands for it.
        """
        before, after = tokenizer.around
        room = self.length - len(before) - len(after)
        if room < 1:
            message = f"`length: {self.length}` leaves no place between the {len(before) + len(after)} tokens around"
            raise NablacError(Diagnostic(codes.E823, f"{message} a text", self.span))
        coded = tokenizer.encode(text) if text.strip() else []
        row = [*before, *coded[:room], *after]
        if not row:
            if tokenizer.unknown is None:
                message = "this text has no token, and the tokenizer no unknown one to stand for it"
                raise NablacError(Diagnostic(codes.E850, message, place=location))
            row = [tokenizer.unknown]
        return row, len(coded) > room


def text_requests(stages: Iterable[Any]) -> tuple[TextColumns, ...]:
    """The requests among the stages of a training."""
    return tuple(
        TextColumns.of(stage.arguments) for stage in stages if stage.name == "tokens" and stage.arguments["columns"]
    )


def request_of(requests: Sequence[TextColumns], name: str) -> TextColumns | None:
    """The request for the tokens of a column; None for any other column."""
    return next((request for request in requests if name in request.columns), None)

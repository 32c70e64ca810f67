"""What the stage `categories` requests: an entry of columns of classes for those that training has not seen.

The entry comes first and has the name UNSEEN. Classes with fewer than `rare` examples in the training part share it, so
that an `Embedding` learns what stands for them; so do empty cells, where that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.elaborate.data import listed_names

if TYPE_CHECKING:
    from grammar.source import Span

UNSEEN = ""  # no class of a table has this name, as an empty cell has no class


@dataclass(frozen=True)
class Categories:
    """A request that columns hold classes, with an entry for those of fewer than `rare` training examples."""

    columns: tuple[str, ...]
    rare: int
    allows_empty: bool = False
    span: Span | None = None

    @staticmethod
    def of(arguments: Mapping[str, Any], span: Span | None = None) -> Categories:
        """The request of a stage with these arguments."""
        columns = tuple(listed_names(arguments["columns"]))
        return Categories(columns, arguments["rare"], bool(arguments["empty"]), span)


def category_requests(stages: Iterable[Any]) -> tuple[Categories, ...]:
    """The requests among the stages of a training."""
    return tuple(Categories.of(stage.arguments) for stage in stages if stage.name == "categories")


def categories_of(requests: Sequence[Categories], name: str) -> Categories | None:
    """The request for a column; None for any other column."""
    return next((request for request in requests if name in request.columns), None)

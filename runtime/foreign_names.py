"""Names of another framework's layers in a weight file, told by the rename rules that come with the library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runtime.name_patterns import Budget
from runtime.rename_rules import read_renames, shipped_rules
from runtime.renames import choose

_FEWEST = 2  # entries that become parameters, so that a name by chance is not taken for a framework's


_FRAMEWORKS = {"pytorch": ".", "keras": "/"}  # rules for layers of any name, and what follows a layer's


@dataclass(frozen=True)
class ForeignNames:
    """Rules that match entries of a file."""

    rules: str
    paths: Mapping[str, tuple[str, ...]]  # of each entry; none for one that is left out

    @property
    def hint(self) -> str:
        """How to rename the entries if their layers have other names in the model."""
        first = next(name for name in self.paths if _FRAMEWORKS[self.rules] in name)
        layer = first.rpartition(_FRAMEWORKS[self.rules])[0] + _FRAMEWORKS[self.rules]
        return f"name the layer of each: `--rename '{layer}* -> LAYER.* by {self.rules}'`"


def foreign_names(ranks: Mapping[str, int], is_known: Callable[[str], bool]) -> ForeignNames | None:
    """The shipped rules that make parameters of most entries, of at least two and half of them.

    `ranks` has the numbers of axes of entries that are not the model's, `is_known` tells its paths.
    """
    kinds = (_matched(name, ranks, is_known) for name in shipped_rules())
    return _best([ForeignNames(kind.rules, _known(kind.paths, is_known)) for kind in kinds], len(ranks))


def foreign_layers(ranks: Mapping[str, int], is_known: Callable[[str], bool]) -> ForeignNames | None:
    """The rules of a framework whose names at least two and half of the entries have, of layers by other names."""
    kinds = (_matched(name, ranks, is_known) for name in _FRAMEWORKS)
    return _best([kind for kind in kinds if any(_FRAMEWORKS[kind.rules] in name for name in kind.paths)], len(ranks))


def _matched(rules: str, ranks: Mapping[str, int], is_known: Callable[[str], bool]) -> ForeignNames:
    renames, budget = read_renames([rules]), Budget()
    chosen = {name: choose(name, rank, renames, is_known, budget)[1] for name, rank in ranks.items()}
    return ForeignNames(rules, {name: match.paths for name, match in chosen.items() if match is not None})


def _known(paths: Mapping[str, tuple[str, ...]], is_known: Callable[[str], bool]) -> dict[str, tuple[str, ...]]:
    return {name: own_paths for name, own_paths in paths.items() if all(map(is_known, own_paths))}


def _best(kinds: Sequence[ForeignNames], entries: int) -> ForeignNames | None:
    counts = [sum(map(bool, kind.paths.values())) for kind in kinds]
    most = max(counts, default=0)
    return kinds[counts.index(most)] if most >= max(_FEWEST, entries / 2) else None

"""Whether the loops of an update are compiled where the user leaves it open: where that costs less than it saves."""

from __future__ import annotations

from importlib.util import find_spec

from compiler.training.flat_updates import FlatGroup, FlatUpdate
from runtime.compiled_loops import is_kept, source_of
from runtime.training.in_place_update import chain_of_group

# Measured on one thread of an x86-64 machine, for Adam and 10,000 to 2 million weights.
_START = 0.5  # seconds until a loop that is kept has run: numba's import, and what it does before its first call
_COMPILE = 0.25  # seconds for a loop that is not kept
_CALL = 20e-6  # seconds that a loop saves at each call, besides
_ELEMENT = 1.1e-9  # those that it saves for each weight: 2.5e-9 where the weights do not fit in the caches

LONG_RUN = 100_000  # steps of a run that is long enough for every loop


def pays_to_compile(update: FlatUpdate, weights: int, steps: int) -> bool:
    """Whether a run of so many steps, which update so many weights, takes less time with compiled loops.

    False where numba is missing or cannot be imported, and for updates that have no loops.
    """
    loops = [source for group in update.groups if (source := _source_of_group(group)) is not None]
    saved = steps * (len(loops) * _CALL + weights * _ELEMENT)
    if not loops or saved <= _START or find_spec("numba") is None:
        return False
    if saved <= _START + _COMPILE * sum(not is_kept(source) for source in loops):
        return False
    try:
        import numba  # noqa: F401
    except ImportError:  # for example since this NumPy is newer than numba supports
        return False
    return True


def _source_of_group(group: FlatGroup) -> str | None:
    """The text of a group's loop; None if it has none."""
    chain = chain_of_group(group)
    is_array = [name in group.roles for name in group.operands.values()]
    return source_of(chain.nodes, chain.inputs, chain.results, chain.overwritten, is_array)

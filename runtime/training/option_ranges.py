"""The ranges of the options of a run that are numbers."""

from __future__ import annotations

from grammar.limits import MOST_INTEGER_DIGITS

MOST_COUNT = 10**MOST_INTEGER_DIGITS - 1  # of epochs, examples, steps and so on, as in a train block
# The minimum of each integer option, and the range of each other: for the command line and for Python.
LEAST = {
    **dict.fromkeys(
        ("epochs", "batch", "patience", "limit_batches", "overfit", "keep", "memory_budget", "threads", "read_every"), 1
    ),
    "seed": 0,
}
MOST_VALIDATION = 0.9

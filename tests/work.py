"""Counts work, since a clock would measure how busy the machine is."""

from __future__ import annotations

import cProfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_most(calls: int) -> Iterator[None]:
    """Assert that the block makes at most `calls` calls of Python and C functions, a number that no machine changes."""
    profile = cProfile.Profile()
    with profile:
        yield
    counted = sum(entry.callcount for entry in profile.getstats())
    assert counted <= calls, f"expected at most {calls:,} function calls, got {counted:,}"

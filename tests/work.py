"""Work counted, where a clock would measure how busy the machine is."""

from __future__ import annotations

import cProfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_most(calls: int) -> Iterator[None]:
    """The block calls no more functions than this, of Python's and of C's; the count is the same on every machine."""
    profile = cProfile.Profile()
    with profile:
        yield
    counted = sum(entry.callcount for entry in profile.getstats())
    assert counted <= calls, f"{counted:,} calls of functions, and at most {calls:,} are expected"

"""Handling of Ctrl-C and SIGTERM while a command runs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def signals_handled_by(handle: Callable[[int], None]) -> Iterator[None]:
    """Call `handle` with the number of either signal within the block; restores the previous handlers after it."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda number, frame: handle(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def collected_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM, so that the work stops after its present step; a second signal ends the command."""
    numbers: list[int] = []

    def handle(number: int) -> None:
        if numbers:
            raise KeyboardInterrupt
        numbers.append(number)

    with signals_handled_by(handle):
        yield numbers

"""Handling of Ctrl-C and SIGTERM while a command runs."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

_of_a_thread: list[Callable[[int], None]] = []  # handlers of a command that runs in a thread, the innermost last


def deliver(number: int) -> None:
    """Handle a signal for the command that runs in a thread of this process, which has none itself."""
    if _of_a_thread:
        _of_a_thread[-1](number)


def end_by(number: int) -> NoReturn:
    """Raise the exception that ends a command for a signal: KeyboardInterrupt, or for SIGTERM SystemExit."""
    if number == signal.SIGTERM:
        sys.exit(128 + number)
    raise KeyboardInterrupt


def status_of_stopped(numbers: Sequence[int]) -> int:
    """The exit status of work that was stopped and saved: by the first of these signals, or by another worker's."""
    return 128 + (numbers[0] if numbers else signal.SIGINT)


@contextmanager
def signals_handled_by(handle: Callable[[int], None]) -> Iterator[None]:
    """Call `handle` with the number of either signal within the block; restores the previous handlers after it."""
    if threading.current_thread() is not threading.main_thread():
        _of_a_thread.append(handle)
        try:
            yield
        finally:
            _of_a_thread.remove(handle)
        return
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
            end_by(number)
        numbers.append(number)

    with signals_handled_by(handle):
        yield numbers

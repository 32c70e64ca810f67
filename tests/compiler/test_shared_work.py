"""Parts that threads share: all are done once, errors reach the caller, and nobody waits for an idle thread."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from compiler.shared_work import do_parts, threads_in_use, use_threads


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_each_part_is_done_once(threads: int, count: int) -> None:
    done: Counter[int] = Counter()
    with use_threads(threads):
        do_parts(lambda part: done.update([part]), count)
    assert done == Counter(range(count))


def test_parts_are_done_side_by_side() -> None:
    together = threading.Barrier(2, timeout=30)  # which one thread alone does not pass
    with use_threads(2):
        do_parts(lambda part: together.wait(), 2)


def test_an_error_is_raised_where_the_parts_were_asked_for() -> None:
    def work(part: int) -> None:
        if part == 3:
            raise ValueError("the fourth part")

    for threads in (1, 2):
        with use_threads(threads), pytest.raises(ValueError, match="the fourth part"):
            do_parts(work, 8)


def test_helpers_do_not_divide_their_parts_again() -> None:
    counts: dict[bool, set[int]] = {True: set(), False: set()}
    caller, together = threading.get_ident(), threading.Barrier(2, timeout=30)

    def work(part: int) -> None:
        together.wait()
        counts[threading.get_ident() == caller].add(threads_in_use())

    with use_threads(2):
        do_parts(work, 2)
    assert counts == {True: {2}, False: {1}}


def test_a_caller_does_all_parts_where_the_pool_is_busy_and_keeps_no_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[Callable[[], None]] = []

    class Busy:
        def submit(self, function: Callable[[], None]) -> None:
            waiting.append(function)

    monkeypatch.setattr("compiler.shared_work.thread_pool", lambda name: Busy())
    array = np.zeros(3)
    alive = weakref.ref(array)

    def work(part: int, array: np.ndarray = array) -> None:
        array[part] += 1

    with use_threads(2):
        do_parts(work, 3)
    assert array.tolist() == [1, 1, 1]
    del array, work
    assert alive() is None
    waiting[0]()  # a helper that comes late

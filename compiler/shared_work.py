"""Work in parts, which threads share: which of them does a part has no influence on the result.

A thread that does not get a processor, because other programs want it too, does fewer parts, and nobody waits for more
than the part that it is in. The threads of a BLAS have fixed shares instead, and wait for one another by turns of the
scheduler: on a busy machine a product takes them many times as long as one thread. So BLAS has one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

from compiler.lazy import LazyModule
from compiler.thread_pools import thread_pool

if TYPE_CHECKING:
    import numpy as np
    from threadpoolctl import LibController, ThreadpoolController
else:
    np = LazyModule("numpy")

_threads: ContextVar[int] = ContextVar("threads", default=1)


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Share work among this number of threads within the block, and keep NumPy's BLAS to one."""
    token = _threads.set(count)
    try:
        with _one_blas_thread():
            yield
    finally:
        _threads.reset(token)


def threads_in_use() -> int:
    """The number of threads that share the work of this one, itself among them."""
    return _threads.get()


def do_parts(work: Callable[[int], object], count: int) -> None:
    """Call `work` with each number below `count`, in any order and several at a time; raises what it raised first."""
    threads = min(_threads.get(), count)
    if threads <= 1:
        for part in range(count):
            work(part)
        return
    shared = _SharedWork(work, count)
    for _ in range(threads - 1):
        thread_pool("parts").submit(shared.help)
    shared.take_parts()
    shared.wait()


class _SharedWork:
    """Parts that wait for a thread, and those that are not done."""

    def __init__(self, work: Callable[[int], object], count: int) -> None:
        self._work: Callable[[int], object] | None = work
        self._waiting, self._undone = iter(range(count)), count
        self._lock, self._done = threading.Lock(), threading.Event()
        self._error: BaseException | None = None

    def help(self) -> None:
        """Take parts in a thread of the pool: NumPy's error state, and some limits of BLAS, are of a thread."""
        with np.errstate(all="ignore"), _one_blas_thread():
            self.take_parts()

    def take_parts(self) -> None:
        """Do parts until none waits."""
        while True:
            with self._lock:
                part = next(self._waiting, None)
            if part is None:
                return
            assert self._work is not None
            error: BaseException | None = None
            try:
                self._work(part)
            except BaseException as raised:  # for the thread that waits
                error = raised
            with self._lock:
                self._error = self._error or error
                self._undone -= 1
                if not self._undone:
                    self._done.set()

    def wait(self) -> None:
        """Wait for the parts that other threads are in."""
        self._done.wait()
        self._work = None  # which holds arrays, and a helper may come late
        if self._error is not None:
            raise self._error


def _one_blas_thread() -> AbstractContextManager[object]:
    controller, libraries = _blas()
    if all(library.get_num_threads() == 1 for library in libraries):  # which takes less time than a limit
        return nullcontext()
    limit: AbstractContextManager[object] = controller.limit(limits=1, user_api="blas")
    return limit


@cache
def _blas() -> tuple[ThreadpoolController, list[LibController]]:
    """The libraries that NumPy has loaded."""
    from threadpoolctl import ThreadpoolController

    np.matmul  # noqa: B018  (NumPy is imported)
    controller = ThreadpoolController()
    return controller, [library for library in controller.lib_controllers if library.user_api == "blas"]

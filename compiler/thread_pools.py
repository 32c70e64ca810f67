"""Pools of threads that live as long as their process."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


@cache
def thread_pool(name: str, size: int | None = None) -> ThreadPoolExecutor:
    """The pool of this name and number of threads, which sleep where there is nothing to do."""
    from concurrent.futures import ThreadPoolExecutor  # with `logging`, which no command needs that uses no threads

    return ThreadPoolExecutor(size, thread_name_prefix=name)


if hasattr(os, "register_at_fork"):
    # A forked process has none of the threads: what it gave to these pools would wait for ever.
    os.register_at_fork(after_in_child=thread_pool.cache_clear)

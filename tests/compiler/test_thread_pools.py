"""Threads of a process and of those that are forked from it."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from compiler.thread_pools import thread_pool


def test_a_pool_is_made_once() -> None:
    assert thread_pool("once", 2) is thread_pool("once", 2)
    assert thread_pool("once", 2) is not thread_pool("other", 2)
    assert thread_pool("once", 2).submit(threading.current_thread).result(30).name.startswith("once")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_has_threads_of_its_own() -> None:
    assert thread_pool("forked", 1).submit(abs, -1).result(30) == 1
    child = os.fork()
    if not child:
        signal.alarm(60)  # for all that may wait in it
        status = 1
        try:
            status = thread_pool("forked", 1).submit(abs, 0).result(30)
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

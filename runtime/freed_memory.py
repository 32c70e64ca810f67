"""What the C library does with memory that is freed: a training keeps it for its next step."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's mallopt(3), and their largest values and usual ones where arrays are large.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = -1
_LARGEST = 32 << 20  # bytes
_OF_THE_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within the block, keep what is freed; at its end, return it to the system.

    Otherwise glibc returns the large arrays of each step, and the system clears and maps the same memory for the next
    one. Other C libraries, and an environment that sets this, are left alone.
    """
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _LARGEST)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        # What glibc itself comes to once a block of the largest size has been freed.
        library.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux" or any(name in os.environ for name in _OF_THE_USER):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None

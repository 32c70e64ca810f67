"""The device of each worker: those of a machine are shared out to its workers."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.backends import device_named

if TYPE_CHECKING:
    from runtime.workers.collective import Collective

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def device_of_worker(name: str, collective: Collective) -> str:
    """The device of a worker, where `cuda` is for each the next one of its machine, and after the last the first.

    NablacError for a numbered device that several workers of a machine would share.
    """
    if device_named(name).kind == "cpu":
        return name
    if ":" not in name:
        return f"{name}:{collective.local_rank % max(1, cuda_devices())}"
    if collective.local_size > 1:
        message = f"`--device {name}` is one device for the {collective.local_size} workers of this machine"
        hint = "`--device cuda` takes another one for each; CUDA_VISIBLE_DEVICES says which of them"
        raise NablacError(Diagnostic(codes.E890, message, place="--device", hint=hint))
    return name


def cuda_devices() -> int:
    """The number of devices that the CUDA driver shows to this process; 0 without a driver."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL(_DRIVER)
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return 0
    except (OSError, AttributeError):
        return 0
    return count.value

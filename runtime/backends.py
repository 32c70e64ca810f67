"""The backends and devices that a model can run on, for the commands and for Python."""

from __future__ import annotations

import re

from compiler.targets import ORT_CPU, ORT_CUDA, Target
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from grammar.record import ValueRecord

BACKENDS = ("numpy", "ort")
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}  # onnxruntime's names of the devices
DEVICES = tuple(PROVIDERS)
_TARGETS = {"cpu": ORT_CPU, "cuda": ORT_CUDA}
_NUMBERED = re.compile(r"(\w+):(0|[1-9]\d{0,3})", re.ASCII)


class Device(ValueRecord):
    """A device: its kind, and its number among those of its kind, as in `cuda:1`."""

    kind: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}" if self.number else self.kind

    @property
    def provider(self) -> str:
        """Onnxruntime's name of what runs on it."""
        return PROVIDERS[self.kind]

    @property
    def target(self) -> Target:
        """What graphs that onnxruntime runs on it are optimised for, so that their nodes stay on it."""
        return _TARGETS[self.kind]


def device_named(name: str) -> Device:
    """The device that `--device` and `device=` name: `cpu`, `cuda` or `cuda:1`. NablacError for any other name."""
    numbered = _NUMBERED.fullmatch(str(name))
    kind = numbered[1] if numbered else str(name)
    if numbered and kind == "cpu":
        hint = "write `cpu`; `--threads` says how many of its processors are used"
        raise NablacError(Diagnostic(codes.E910, f"there is no device `{name}`", place="device", hint=hint))
    if not numbered and kind.partition(":")[0] in PROVIDERS and ":" in kind:
        hint = "the number of a device follows its name: `cuda:0` is the first, `cuda:1` the second"
        raise NablacError(Diagnostic(codes.E910, f"there is no device `{name}`", place="device", hint=hint))
    _check_known("device", kind, DEVICES)
    return Device(kind, int(numbered[2]) if numbered else 0)


def check_backend(backend: str, device: str) -> None:
    """NablacError for an unknown backend or device: there is no silent fallback to another."""
    _check_known("backend", backend, BACKENDS)
    kind = device_named(device).kind
    if backend == "numpy" and kind != "cpu":
        hint = "the backend `ort` runs on others: `--backend ort`, in Python `backend='ort'`"
        message = "the NumPy runtime has no device but the CPU"
        raise NablacError(Diagnostic(codes.E910, message, place=f"device `{device}`", hint=hint))


def _check_known(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        hint = did_you_mean(str(name), known) or f"the choices are {' and '.join(f'`{choice}`' for choice in known)}"
        raise NablacError(Diagnostic(codes.E910, f"there is no {what} `{name}`", place=what, hint=hint))

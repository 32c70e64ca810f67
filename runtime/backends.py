"""The backends and devices that a model can run on, for the commands and for Python."""

from __future__ import annotations

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean

BACKENDS = ("numpy", "ort")
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}  # onnxruntime's names of the devices
DEVICES = tuple(PROVIDERS)


def check_backend(backend: str, device: str) -> None:
    """NablacError for an unknown backend or device: there is no silent fallback to another."""
    _check_known("backend", backend, BACKENDS)
    _check_known("device", device, DEVICES)
    if backend == "numpy" and device != "cpu":
        hint = "the backend `ort` runs on others: `--backend ort`, in Python `backend='ort'`"
        message = "the NumPy runtime has no device but the CPU"
        raise NablacError(Diagnostic(codes.E910, message, place=f"device `{device}`", hint=hint))


def _check_known(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        hint = did_you_mean(str(name), known) or f"the choices are {' and '.join(f'`{choice}`' for choice in known)}"
        raise NablacError(Diagnostic(codes.E910, f"there is no {what} `{name}`", place=what, hint=hint))

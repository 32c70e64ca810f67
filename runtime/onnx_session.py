"""Running an ONNX model by onnxruntime: the device that was asked for or an error, inputs and outputs by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grammar.diagnostics import Diagnostic, NablacError, did_you_mean

if TYPE_CHECKING:
    from compiler.types import Array

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_QUIET = 3  # onnxruntime's severity of errors; its warnings are for those who write exporters


class OnnxRunner:
    """One loaded model; `model` is a path or the bytes of an ONNX file.

    `optimize` set to False runs the graph as it is written, as an oracle does.
    """

    def __init__(
        self,
        model: str | Path | bytes,
        *,
        device: str = "cpu",
        threads: int | None = None,
        optimize: bool = True,
        severity: int = _QUIET,
    ) -> None:
        import onnxruntime as ort

        self.name = "the model" if isinstance(model, bytes) else str(model)
        options = ort.SessionOptions()
        options.log_severity_level = severity
        if threads is not None:
            options.intra_op_num_threads = threads
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if device == "cuda" and hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
        provider = PROVIDERS[device]
        if provider not in ort.get_available_providers():
            raise _no_device(device, f"onnxruntime {ort.__version__} was built without it")
        providers = [provider] if device == "cpu" else [provider, PROVIDERS["cpu"]]
        source = model if isinstance(model, bytes) else str(model)
        try:
            self.session = ort.InferenceSession(source, options, providers=providers)
        except Exception as error:  # onnxruntime's own exceptions have no common base but this
            raise NablacError(
                Diagnostic("E909", "onnxruntime does not load this model", place=self.name, note=_first_line(error))
            ) from error
        if provider not in self.session.get_providers():
            raise _no_device(device, "onnxruntime could not start it")
        self.inputs = {each.name: each for each in self.session.get_inputs()}
        self.outputs = [each.name for each in self.session.get_outputs()]

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Every output by name."""
        unknown = next((name for name in feeds if name not in self.inputs), None)
        if unknown is not None:
            hint = did_you_mean(unknown, self.inputs) or f"the inputs are {', '.join(self.inputs)}"
            raise NablacError(Diagnostic("E802", f"the model has no input `{unknown}`", place=self.name, hint=hint))
        missing = [name for name in self.inputs if name not in feeds]
        if missing:
            listed = ", ".join(f"`{name}`" for name in missing)
            raise NablacError(Diagnostic("E801", f"{listed} is missing", place=self.name))
        try:
            results = self.session.run(None, {name: np.asarray(array) for name, array in feeds.items()})
        except Exception as error:  # as above
            raise NablacError(
                Diagnostic("E806", "onnxruntime stopped while it ran the model", place=self.name, note=_first_line(error))
            ) from error
        return dict(zip(self.outputs, results, strict=True))


def _no_device(device: str, why: str) -> NablacError:
    hint = {"cuda": "onnxruntime-gpu takes the place of onnxruntime: uninstall the one, then install the other"}.get(device)
    return NablacError(Diagnostic("E910", f"there is no device `{device}` here: {why}", place="--device", hint=hint))


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:300] + " ..."

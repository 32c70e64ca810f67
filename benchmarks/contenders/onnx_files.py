"""ONNX files that others write, torch.onnx, onnxsim and onnx-ad, on onnxruntime; and onnx's own evaluator.

The sessions are plain ones, with onnxruntime's defaults, as the users of these files have them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.contenders import Job, NotWritten

FILES = {"torch.onnx": "torch.onnx", "onnxsim": "onnxsim.onnx", "reference": "nablac.onnx", "onnx-ad": "onnx-ad.onnx"}


def import_packages(variant: str) -> None:
    if variant == "reference":
        import onnx.reference  # noqa: F401
    else:
        import onnxruntime  # noqa: F401


def _session(job: Job) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.log_severity_level = 3
    path = job.folder / FILES[job.variant]
    if not path.exists():
        raise NotWritten((job.folder / f"{path.name}.txt").read_text("utf-8"))
    return onnxruntime.InferenceSession(path, options)


def inference(job: Job) -> Callable[[], np.ndarray]:
    inputs = job.network().inputs()
    if job.variant == "reference":
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(str(job.folder / FILES[job.variant]))
        output = job.network().output
        return lambda: evaluator.run([output], inputs)[0]
    session = _session(job)
    feeds = dict(zip((slot.name for slot in session.get_inputs()), inputs.values(), strict=True))
    return lambda: session.run(None, feeds)[0]


def gradient(job: Job) -> Callable[[], float]:
    """onnx-ad: the gradients of the loss for all weights, which are inputs, seeded with one."""
    session = _session(job)
    known = job.weights() | job.feeds()
    feeds = {slot.name: known.get(slot.name, np.ones(1, np.float32)) for slot in session.get_inputs()}
    return lambda: float(np.ravel(session.run(None, feeds)[0])[0])

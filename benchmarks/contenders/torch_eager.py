"""PyTorch: eager with the fused or the default Adam, and `torch.compile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.contenders import Job


def import_packages(variant: str) -> None:
    import torch

    if variant == "compiled":
        import torch._inductor.compile_fx
    module = torch.nn.Linear(1, 1)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.zeros(1, 1)).sum().backward()
    optimizer.step()


def module_with_weights(job: Job) -> Any:
    """The module of a case with our weights; every one of its tensors is set, but for counts of batches."""
    import torch

    module = job.network().torch()
    state = {name: torch.from_numpy(array) for name, array in job.network().weights(job.weights()).items()}
    report = module.load_state_dict(state, strict=False)
    left = [name for name in report.missing_keys if not name.endswith(("num_batches_tracked", "token_type_ids"))]
    if left or report.unexpected_keys:
        raise ValueError(f"weights do not fit: {left} are not set, {report.unexpected_keys} do not exist")
    return module


def loss_of(job: Job) -> Callable[[Any, Any], Any]:
    """The loss of a case, of the module's output and the target."""
    from torch.nn import functional

    if job.network().loss == "mse":
        return functional.mse_loss
    return lambda logits, target: functional.cross_entropy(logits.flatten(0, -2), target.flatten())


def _with_loss(job: Job) -> tuple[Any, Callable[[], Any]]:
    """The module, and a function that computes its loss."""
    import torch

    torch.set_num_threads(job.threads)
    module, loss = module_with_weights(job), loss_of(job)
    *inputs, target = (torch.from_numpy(array) for array in job.feeds().values())

    def forward() -> Any:
        return loss(module(*inputs), target)

    return module, torch.compile(forward) if job.variant == "compiled" else forward


def training(job: Job) -> Callable[[], float]:
    import torch

    module, forward = _with_loss(job)
    fused = True if job.variant != "default" else None
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=fused)

    def step() -> float:
        optimizer.zero_grad()
        loss = forward()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def gradient(job: Job) -> Callable[[], float]:
    module, forward = _with_loss(job)

    def step() -> float:
        module.zero_grad()
        loss = forward()
        loss.backward()
        return float(loss.detach())

    return step


def inference(job: Job) -> Callable[[], np.ndarray]:
    import torch

    torch.set_num_threads(job.threads)
    module = module_with_weights(job).eval()
    call = torch.compile(module) if job.variant == "compiled" else module
    inputs = [torch.from_numpy(array) for array in job.network().inputs().values()]

    def run() -> np.ndarray:
        with torch.inference_mode():
            return call(*inputs).numpy()

    return run

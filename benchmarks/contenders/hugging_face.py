"""`generate` of transformers: with its own cache, and with a static one for which the forward pass is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import language_models
from benchmarks.contenders import Job


def import_packages(variant: str) -> None:
    import torch  # noqa: F401
    import transformers  # noqa: F401


def generation(job: Job) -> Callable[[], np.ndarray]:
    import torch
    from transformers import CompileConfig

    torch.set_num_threads(job.threads)
    module = language_models.module(job.case)
    inputs = torch.from_numpy(language_models.prompt(job.case))
    options: dict[str, Any] = {"max_new_tokens": int(job.work.split()[1]), "do_sample": False, "pad_token_id": 0}
    if job.variant == "static":
        # Without this, transformers compiles for accelerators only.
        compiled = CompileConfig(mode="default", dynamic=False)
        compiled._compile_all_devices = True
        options |= {"cache_implementation": "static", "compile_config": compiled}

    def run() -> np.ndarray:
        with torch.inference_mode():
            tokens = module.generate(inputs, attention_mask=torch.ones_like(inputs), **options)
        return tokens[:, language_models.PROMPT :].numpy()

    return run

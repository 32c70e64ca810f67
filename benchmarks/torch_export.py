"""A PyTorch network to an ONNX file, as its users do it: `python -m benchmarks.torch_export NETWORK FILE`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from benchmarks.cases import CASES


def _case(name: str) -> tuple[Any, tuple[Any, ...]]:
    import torch

    case = CASES[name]()
    return case.torch(), tuple(torch.from_numpy(array) for array in case.inputs().values())


def _layers(depth: int) -> tuple[Any, tuple[Any, ...]]:
    """specs/gpt.model at another depth."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=256, n_positions=128, n_embd=64, n_layer=depth, n_head=4, use_cache=False)
    return GPT2LMHeadModel(config), (torch.randint(0, 256, (1, 16)),)


NETWORKS: dict[str, Callable[[], tuple[Any, tuple[Any, ...]]]] = {
    "ResNet-50": lambda: _case("resnet50 b1"),
    "GPT-2": lambda: _case("gpt2 small"),
    "BERT": lambda: _case("bert base"),
    "48 layers": lambda: _layers(48),
}


def main(name: str, path: str) -> None:
    import torch

    module, inputs = NETWORKS[name]()
    torch.onnx.export(module.eval(), inputs, path, dynamo=True, verbose=False)


if __name__ == "__main__":
    main(*sys.argv[1:])

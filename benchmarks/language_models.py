"""Language models of GPT-2's architecture with random weights, from which tokens are generated greedily."""

from __future__ import annotations

from typing import Any

import numpy as np

SIZES = {"4 layers of 256": (256, 4, 4, 1000), "GPT-2": (768, 12, 12, 50257)}  # width, heads, depth, vocabulary
CONTEXT, PROMPT = 512, 16


def settings(size: str) -> dict[str, int]:
    """The settings of specs/gpt.model at a size."""
    width, heads, depth, vocabulary = SIZES[size]
    return {"width": width, "heads": heads, "depth": depth, "vocabulary": vocabulary, "context": CONTEXT}


def module(size: str) -> Any:
    """The same model in transformers, with the weights that it draws."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    width, heads, depth, vocabulary = SIZES[size]
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocabulary, n_positions=CONTEXT, n_embd=width, n_layer=depth, n_head=heads, eos_token_id=None
    )
    return GPT2LMHeadModel(config).eval()


def prompt(size: str) -> np.ndarray:
    """The tokens that all contenders begin with: [1, PROMPT]."""
    return np.random.default_rng(0).integers(3, SIZES[size][3], (1, PROMPT))

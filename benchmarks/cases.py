"""Every network that is measured, by name, and which of them are trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import copied_weights as copied
from benchmarks.models import Case, cnn, gpt2, mlp, recurrent, transformer
from benchmarks.residual_networks import resnet18, resnet50

SPECS = Path(__file__).parents[1] / "specs"


def bert(length: int, batch: int) -> Case:
    """BERT-base with its masked-token head."""

    def torch_model() -> Any:
        import torch
        from transformers import BertConfig, BertForMaskedLM

        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = BertForMaskedLM(BertConfig(attn_implementation="sdpa"))

            def forward(self, tokens: Any, segments: Any) -> Any:
                return self.body(input_ids=tokens, attention_mask=tokens != 0, token_type_ids=segments).logits

        return Net()

    def feeds(generator: np.random.Generator) -> dict[str, np.ndarray]:
        shape = (batch, length)
        return {"tokens": generator.integers(1, 30522, shape), "segments": np.zeros(shape, np.int64)}

    def weights(ours: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {f"body.{name}": array for name, array in copied.bert(ours).items()}

    text = (SPECS / "bert.model").read_text("utf-8")
    return Case(text, feeds, torch_model, "", weights, preset="base", hypers={"pooler": False})


TRAINED: dict[str, Callable[[], Case]] = {
    "mlp small": lambda: mlp(64, 32),
    "mlp large": lambda: mlp(1024, 128),
    "cnn small": lambda: cnn(8, 28, 16),
    "cnn large": lambda: cnn(32, 28, 64),
    "rnn small": lambda: recurrent("rnn", 50, 1, 12, 32),
    "rnn large": lambda: recurrent("rnn", 128, 64, 100, 64),
    "lstm small": lambda: recurrent("lstm", 50, 1, 12, 32),
    "lstm large": lambda: recurrent("lstm", 128, 64, 100, 64),
    "gru small": lambda: recurrent("gru", 50, 1, 12, 32),
    "gru large": lambda: recurrent("gru", 128, 64, 100, 64),
    "transformer small": lambda: transformer(64, 4, 2, 16, 8),
    "transformer large": lambda: transformer(256, 8, 3, 64, 16),
    "resnet18 32x32": lambda: resnet18(32, 8),
    "resnet18 64x64": lambda: resnet18(64, 8),
    "gpt2 small": lambda: gpt2(12, 128, 1),
}
CASES: dict[str, Callable[[], Case]] = TRAINED | {
    "resnet50 b1": lambda: resnet50(1),
    "resnet50 b8": lambda: resnet50(8),
    "bert base": lambda: bert(128, 1),
}

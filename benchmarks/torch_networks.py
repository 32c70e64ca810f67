"""Networks in PyTorch beside ours of the same architecture, to count the nodes of their exported graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.models import cnn, mlp, transformer
from benchmarks.residual_networks import residual_network


@dataclass(frozen=True)
class Network:
    """A spec, or a text, with its preset; and what builds a module in PyTorch and the inputs that it is traced with."""

    torch: Callable[[], tuple[Any, tuple[Any, ...]]]
    spec: str = ""
    text: str = ""
    preset: str | None = None


def _sequential(case: Any, *shape: int) -> Callable[[], tuple[Any, tuple[Any, ...]]]:
    def build() -> tuple[Any, tuple[Any, ...]]:
        import torch

        return case.torch(), (torch.randn(*shape),)

    return build


def _recurrent(kind: str, layers: int = 1, both: bool = False) -> Network:
    layer = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}[kind]
    inner, last = f"{layer}(32, sequences: true)", f"{layer}(32)"
    if both:
        inner, last = f"Bidirectional({inner})", f"Bidirectional({last})"
    chain = " -> ".join([*[inner] * (layers - 1), last])
    text = f"model M {{ input x: [batch, time, 8]; output y = x -> {chain} }}"

    def build() -> tuple[Any, tuple[Any, ...]]:
        import torch
        from torch import nn

        cell = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind]

        class Last(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = cell(8, 32, num_layers=layers, bidirectional=both, batch_first=True)

            def forward(self, x: Any) -> Any:
                state = self.body(x)[1]
                state = state[0] if kind == "lstm" else state
                return torch.cat((state[-2], state[-1]), -1) if both else state[-1]

        return Last(), (torch.randn(2, 5, 8),)

    return Network(build, text=text)


def _transformer() -> tuple[Any, tuple[Any, ...]]:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Transformer(64, 4, 2, 2, 256, dropout=0.0, batch_first=True)
            self.last = nn.Linear(64, 64)

        def forward(self, source: Any, x: Any) -> Any:
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
            return self.last(self.body(source, x, tgt_mask=mask, tgt_is_causal=True))

    return Net(), (torch.randn(2, 5, 64), torch.randn(2, 5, 64))


def _residual(blocks: tuple[int, ...], bottleneck: bool) -> Callable[[], tuple[Any, tuple[Any, ...]]]:
    def build() -> tuple[Any, tuple[Any, ...]]:
        import torch

        return residual_network(blocks, bottleneck), (torch.randn(2, 3, 64, 64),)

    return build


def _pretrained(kind: str) -> Callable[[], tuple[Any, tuple[Any, ...]]]:
    """A network of the transformers library with random weights, of the depth of our spec's default."""

    def build() -> tuple[Any, tuple[Any, ...]]:
        import torch
        import transformers as hub

        class Logits(torch.nn.Module):
            def __init__(self, body: Any) -> None:
                super().__init__()
                self.body = body

            def forward(self, tokens: Any) -> Any:
                return self.body(input_ids=tokens).logits

        tokens = torch.randint(1, 90, (2, 7))
        layers, width = 2, 64
        if kind == "bert":
            config = hub.BertConfig(
                vocab_size=100,
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=4,
                intermediate_size=4 * width,
            )

            class Encoder(torch.nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.body = hub.BertForPreTraining(config)

                def forward(self, tokens: Any, segments: Any, mask: Any) -> Any:
                    body = self.body(input_ids=tokens, token_type_ids=segments, attention_mask=mask)
                    return body.prediction_logits

            return Encoder(), (tokens, torch.zeros_like(tokens), torch.ones_like(tokens))
        if kind == "gpt":
            config = hub.GPT2Config(
                vocab_size=100, n_positions=64, n_embd=width, n_layer=layers, n_head=4, use_cache=False
            )
            return Logits(hub.GPT2LMHeadModel(config)), (tokens,)
        if kind == "t5":
            config = hub.T5Config(
                vocab_size=100, d_model=width, d_kv=16, d_ff=128, num_layers=layers, num_heads=4, use_cache=False
            )

            class Both(torch.nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.body = hub.T5ForConditionalGeneration(config)

                def forward(self, source: Any, target: Any) -> Any:
                    return self.body(input_ids=source, decoder_input_ids=target).logits

            return Both(), (tokens, tokens)
        config = hub.LlamaConfig(
            vocab_size=100,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            use_cache=False,
        )
        return Logits(hub.LlamaForCausalLM(config)), (tokens,)

    return build


NETWORKS: dict[str, Network] = {
    "mlp": Network(_sequential(mlp(64, 32), 2, 784), text=mlp(64, 32).text),
    "cnn": Network(_sequential(cnn(8, 28, 16), 2, 1, 28, 28), text=cnn(8, 28, 16).text),
    **{kind: _recurrent(kind) for kind in ("rnn", "lstm", "gru")},
    **{f"{kind}, two layers": _recurrent(kind, layers=2) for kind in ("rnn", "lstm", "gru")},
    **{f"{kind}, both directions": _recurrent(kind, both=True) for kind in ("rnn", "lstm", "gru")},
    "transformer": Network(_transformer, text=transformer(64, 4, 2, 5, 2).text),
    "resnet18": Network(_residual((2, 2, 2, 2), False), "resnet", preset="resnet18"),
    "resnet50": Network(_residual((3, 4, 6, 3), True), "resnet", preset="resnet50"),
    **{kind: Network(_pretrained(kind), kind) for kind in ("bert", "gpt", "t5", "llama")},
}

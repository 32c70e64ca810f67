"""The example models against torch modules of the same architecture with the same weights."""

from __future__ import annotations

import math
from typing import Any

import pytest

from compiler.elaborate.program import load
from compiler.operators.leaves import Parameter
from tests.models import elaborate
from tests.paths import SPECS
from tests.specs.parity import Case, case, check, each, tokens, torch
from tests.specs.test_attention import sinusoids
from tests.specs.weights import (
    Weights,
    at,
    batch_norm,
    convolution,
    decoder_layer,
    dense,
    encoder_layer,
    gru,
    lstm,
    norm,
    rnn,
    stack,
    together,
)

nn, functional = torch.nn, torch.nn.functional
SERIES = ({"batch": 1, "time": 1}, {"batch": 2, "time": 6}, {"batch": 7, "time": 4})
BATCH = ({"batch": 1}, {"batch": 2}, {"batch": 7})
DIGIT = ("batch", 1, 28, 28)


class Read(nn.Module):  # type: ignore[misc]
    """A recurrent network, and a linear map of all its outputs or the last."""

    def __init__(self, recurrent: Any, linear: Any, rows: bool = False, last: bool = False) -> None:
        super().__init__()
        self.recurrent, self.linear, self.rows, self.last = recurrent, linear, rows, last

    def forward(self, x: Any) -> Any:
        ys = self.recurrent(x[:, 0] if self.rows else x)[0]
        return self.linear(ys[:, -1] if self.last else ys)


def elman(module: Any) -> Weights:
    found = rnn("elman_cell")(module.recurrent)
    return found | {"elman_cell.W_hy": module.linear.weight, "elman_cell.b_y": module.linear.bias}


def memory(module: Any) -> Weights:
    """The textbook's four matrices act on h and x side by side, and multiply from the right."""
    parts = lstm("cell")(module.recurrent)
    found = dense("dense")(module.linear)
    for ours, theirs in (("f", "f"), ("i", "i"), ("c", "g"), ("o", "o")):
        joined = torch.cat([parts[f"cell.W_h{theirs}"], parts[f"cell.W_x{theirs}"]], 1)
        found |= {f"memory_cell.W_{ours}": joined.T, f"memory_cell.b_{ours}": parts[f"cell.b_{theirs}"]}
    return found


class Gated(nn.Module):  # type: ignore[misc]
    """The gated cell by nn.GRU's weights: the reset gate acts before the product, so step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.linear = nn.GRU(28, 6), nn.Linear(6, 10)

    def forward(self, x: Any) -> Any:
        w = gru_weights(self)
        h = x.new_zeros(len(x), 6)
        for row in x[:, 0].unbind(1):
            z = torch.sigmoid(row @ w["gated_cell.W_z"].T + h @ w["gated_cell.U_z"].T + w["gated_cell.b_z"])
            r = torch.sigmoid(row @ w["gated_cell.W_r"].T + h @ w["gated_cell.U_r"].T + w["gated_cell.b_r"])
            n = torch.tanh(row @ w["gated_cell.W_n"].T + (r * h) @ w["gated_cell.U_n"].T + w["gated_cell.b_n"])
            h = z * h + (1 - z) * n
        return self.linear(h)


def gru_weights(module: Any) -> Weights:
    parts = gru("cell")(module.gru)
    found = dense("dense")(module.linear)
    for gate in "zrn":
        found |= {f"gated_cell.W_{gate}": parts[f"cell.W_x{gate}"], f"gated_cell.U_{gate}": parts[f"cell.W_h{gate}"]}
        found[f"gated_cell.b_{gate}"] = parts[f"cell.b_{gate}"]
    return found


class Bidirectional(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(28, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.linear = nn.Linear(12, 10)

    def forward(self, x: Any) -> Any:
        ys = self.gru(x[:, 0])[0]
        return self.linear(torch.cat([ys[:, -1, :6], ys[:, 0, 6:]], -1))


def bidirectional(module: Any) -> Weights:
    found = dense("dense")(module.linear)
    for layer, path in enumerate(("bidirectional", "bidirectional_1")):
        found |= gru(f"{path}.forward.gru_cell", f"l{layer}")(module.gru)
        found |= gru(f"{path}.backward.gru_cell", f"l{layer}_reverse")(module.gru)
    return found


class Forecaster(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.linear = nn.RNN(1, 5, num_layers=2, batch_first=True), nn.Linear(5, 1)

    def forward(self, x: Any) -> Any:
        return self.linear(self.rnn(x)[0][:, -1])


class Digits(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.three, self.four = nn.Linear(392, 64), nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        x = functional.max_pool2d(functional.relu(self.one(x)), 2)
        x = functional.avg_pool2d(functional.relu(self.two(x)), 2)
        logits = self.four(functional.relu(self.three(x.flatten(1))))
        return logits, logits.softmax(-1)


class Block(nn.Module):  # type: ignore[misc]
    """A residual block: convolutions of given (filters, kernel, stride), a 1x1 shortcut where the shape changes."""

    def __init__(self, channels: int, *shape: tuple[int, int, int]) -> None:
        super().__init__()
        parts: list[Any] = []
        width = channels
        for filters, kernel, stride in shape:
            parts += [
                nn.Conv2d(width, filters, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(filters),
                nn.ReLU(),
            ]
            width = filters
        self.parts = nn.Sequential(*parts[:-1])
        stride = math.prod(stride for *_, stride in shape)
        changes = stride != 1 or width != channels
        self.shortcut = (
            nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            if changes
            else nn.Identity()
        )

    def forward(self, x: Any) -> Any:
        return functional.relu(self.shortcut(x) + self.parts(x))


class ResNet(nn.Module):  # type: ignore[misc]
    def __init__(self, blocks: list[int], bottleneck: bool, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width))
        self.blocks = nn.ModuleList()
        channels = width
        for stage, count in enumerate(blocks):
            for place in range(count):
                w, stride = width * 2**stage, 2 if stage and not place else 1
                shape = [(w, 1, 1), (w, 3, stride), (4 * w, 1, 1)] if bottleneck else [(w, 3, stride), (w, 3, 1)]
                self.blocks.append(Block(channels, *shape))
                channels = shape[-1][0]
        self.linear = nn.Linear(channels, 10)
        self.counts = blocks

    def forward(self, x: Any) -> Any:
        x = functional.max_pool2d(functional.relu(self.stem(x)), 3, 2, 1)
        for block in self.blocks:
            x = block(x)
        return self.linear(x.mean((2, 3)))


def resnet_weights(module: Any) -> Weights:
    found = together(at(0, convolution("conv2d")), at(1, batch_norm("batch_norm")))(module.stem)
    found |= dense("dense")(module.linear)
    places = [f"{stage}.{place}" for stage, count in enumerate(module.counts) for place in range(count)]
    for place, block in zip(places, module.blocks, strict=True):
        if isinstance(block.shortcut, nn.Sequential):
            shortcut = together(
                at(0, convolution(f"block.{place}.shortcut")), at(1, batch_norm(f"block.{place}.shortcut_norm"))
            )
            found |= shortcut(block.shortcut)
        for kind, name, part in ((nn.Conv2d, "conv2d", convolution), (nn.BatchNorm2d, "batch_norm", batch_norm)):
            for number, layer in enumerate(item for item in block.parts if isinstance(item, kind)):
                found |= part(f"block.{place}.{name}{f'_{number}' if number else ''}")(layer)
    return found


class Translator(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        encoder = nn.TransformerEncoderLayer(8, 2, 16, 0, batch_first=True)
        decoder = nn.TransformerDecoderLayer(8, 2, 16, 0, batch_first=True)
        self.encoder = nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(decoder, 2)

    def forward(self, source: Any, target: Any) -> Any:
        x, y = (sinusoids(self.table(each) * math.sqrt(8)) for each in (source, target))
        hidden = source == 0
        memory = self.encoder(x, src_key_padding_mask=hidden)
        causal = torch.ones(y.shape[1], y.shape[1], dtype=torch.bool).triu(1)
        return self.decoder(y, memory, tgt_mask=causal, memory_key_padding_mask=hidden) @ self.table.weight.T


class GPT(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.table, self.positions = nn.Embedding(11, 8), nn.Embedding(16, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 32, 0, nn.GELU("tanh"), batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=False)

    def forward(self, x: Any) -> Any:
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return self.encoder(self.table(x) + self.positions.weight[: x.shape[1]], mask=causal) @ self.table.weight.T


def gpt_weights(module: Any) -> Weights:
    found = {"embedding.table": module.table.weight, "learned_positions.table": module.positions.weight}
    found |= norm("layer_norm")(module.encoder.norm)
    for place, layer in enumerate(module.encoder.layers):
        found |= encoder_layer(f"block.{place}")(layer)
    return found


class BERT(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.table, self.positions, self.kinds = nn.Embedding(11, 8), nn.Embedding(16, 8), nn.Embedding(2, 8)
        self.norm, self.last = nn.LayerNorm(8, 1e-12), nn.LayerNorm(8, 1e-12)
        layer = nn.TransformerEncoderLayer(8, 2, 32, 0, "gelu", 1e-12, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.pool, self.map = nn.Linear(8, 8), nn.Linear(8, 8)
        self.bias = nn.Parameter(torch.zeros(11))

    def forward(self, x: Any, kinds: Any) -> Any:
        e = self.norm(self.table(x) + self.positions.weight[: x.shape[1]] + self.kinds(kinds))
        h = self.encoder(e, src_key_padding_mask=x == 0)
        logits = self.last(functional.gelu(self.map(h))) @ self.table.weight.T + self.bias
        return logits, torch.tanh(self.pool(h[:, 0])), h


def bert_weights(module: Any) -> Weights:
    found = {"embedding.table": module.table.weight, "learned_positions.table": module.positions.weight}
    found |= {"segment.table": module.kinds.weight, "b_vocabulary": module.bias}
    found |= norm("layer_norm")(module.norm) | norm("layer_norm_1")(module.last)
    found |= dense("summarise")(module.pool) | dense("transform")(module.map)
    return found | stack("encoder", encoder_layer)(module.encoder)


def first_is_no_padding(random: Any, shape: tuple[int, ...]) -> Any:
    found = random.integers(0, 11, shape)
    found[:, 0] = 1
    return found


def model(label: str, file: str, module: Any, weights: Any, **options: Any) -> Case:
    return case(label, file, module, weights, **options)


RESNETS = tuple(
    model(
        f"a residual network, {'bottlenecks' if bottleneck else 'plain'}{', training' if training else ''}",
        "resnet.model",
        ResNet(blocks, bottleneck, 4),
        resnet_weights,
        hypers={"blocks": blocks, "bottleneck": bottleneck, "width": 4},
        sizes=({"batch": 1, "height": 33, "width_in": 40}, {"batch": 2, "height": 32, "width_in": 32}),
        training=training,
        rtol=1e-11,
        image=("batch", 3, "height", "width_in"),
    )
    for blocks, bottleneck, training in (([2, 2], False, False), ([1, 1, 2], True, False))
)

MODELS = (
    model(
        "a multilayer perceptron",
        "mlp.model",
        nn.Sequential(nn.Flatten(), nn.Linear(784, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 10)),
        together(at(1, dense("dense")), at(3, dense("dense_1")), at(5, dense("dense_2"))),
        hypers={"hidden": 6},
        sizes=BATCH,
        image=DIGIT,
    ),
    model(
        "Elman's network, an output for every step",
        "rnn.model:ManyToMany",
        Read(nn.RNN(1, 5, batch_first=True), nn.Linear(5, 1)),
        elman,
        hypers={"hidden": 5},
        sizes=SERIES,
        series=("batch", "time", 1),
    ),
    model(
        "Elman's network, one output",
        "rnn.model:ManyToOne",
        Read(nn.RNN(28, 5, batch_first=True), nn.Linear(5, 10), rows=True, last=True),
        elman,
        hypers={"hidden": 5},
        sizes=BATCH,
        image=DIGIT,
    ),
    model(
        "the textbook's LSTM",
        "lstm.model",
        Read(nn.LSTM(1, 5, batch_first=True), nn.Linear(5, 1), last=True),
        memory,
        hypers={"hidden": 5},
        sizes=SERIES,
        series=("batch", "time", 1),
    ),
    model(
        "the paper's GRU", "gru.model:GatedDigits", Gated(), gru_weights, hypers={"hidden": 6}, sizes=BATCH, image=DIGIT
    ),
    model(
        "two GRU layers in both directions",
        "gru.model:BidirectionalDigits",
        Bidirectional(),
        bidirectional,
        hypers={"hidden": 6},
        sizes=BATCH,
        image=DIGIT,
    ),
    model(
        "the forecaster",
        "forecaster.model",
        Forecaster(),
        lambda module: {
            **rnn("simple_rnn.rnn_cell", "l0")(module.rnn),
            **rnn("simple_rnn_1.rnn_cell", "l1")(module.rnn),
            **dense("dense")(module.linear),
        },
        hypers={"units": 5},
        sizes=SERIES,
        series=("batch", "time", 1),
    ),
    model(
        "a network that reads digits",
        "cnn.model",
        Digits(),
        together(
            (lambda m: m.one, convolution("conv2d")),
            (lambda m: m.two, convolution("conv2d_1")),
            (lambda m: m.three, dense("dense")),
            (lambda m: m.four, dense("dense_1")),
        ),
        hypers={"filters": 4},
        sizes=BATCH,
        image=DIGIT,
    ),
    *RESNETS,
    model(
        "a transformer that translates",
        "transformer.model",
        Translator(),
        together(
            (lambda m: m, lambda m: {"embedding.table": m.table.weight}),
            (lambda m: m.encoder, stack("encoder", encoder_layer)),
            (lambda m: m.decoder, stack("decoder", decoder_layer)),
        ),
        hypers={"width": 8, "heads": 2, "inner": 16, "vocabulary": 11},
        types={"source": "i64", "target_in": "i64"},
        draws={"source": first_is_no_padding, "target_in": tokens(11)},
        sizes=({"batch": 1, "S": 1, "T": 1}, {"batch": 2, "S": 5, "T": 4}, {"batch": 7, "S": 3, "T": 6}),
        source=("batch", "S"),
        target_in=("batch", "T"),
    ),
    model(
        "a language model",
        "gpt.model",
        GPT(),
        gpt_weights,
        hypers={"width": 8, "heads": 2, "vocabulary": 11, "context": 16},
        types={"tokens": "i64"},
        draws={"tokens": tokens(11)},
        sizes=({"batch": 1, "T": 1}, {"batch": 2, "T": 16}, {"batch": 7, "T": 5}),
        tokens=("batch", "T"),
    ),
    model(
        "a masked language model",
        "bert.model",
        BERT(),
        bert_weights,
        hypers={"width": 8, "heads": 2, "vocabulary": 11, "context": 16},
        types={"tokens": "i64", "segments": "i64"},
        draws={"tokens": first_is_no_padding, "segments": tokens(2)},
        sizes=({"batch": 1, "T": 1}, {"batch": 2, "T": 16}, {"batch": 7, "T": 5}),
        tokens=("batch", "T"),
        segments=("batch", "T"),
    ),
)


@each(MODELS)
def test_an_example_is_torchs_model(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("file", "preset", "millions"),
    [
        ("resnet", "resnet18", 11.69),
        ("resnet", "resnet50", 25.56),
        ("transformer", "base", 63.08),
        ("gpt", "gpt2", 124.44),
        ("bert", "base", 110.1),
    ],
)
def test_a_preset_has_the_published_number_of_parameters(file: str, preset: str, millions: float) -> None:
    graph = elaborate(load(SPECS / f"{file}.model"), preset=preset)
    count = sum(math.prod(map(int, node.op.type.shape)) for node in graph if isinstance(node.op, Parameter))
    assert round(count / 1e6, 2) == millions

"""Attention, positions and whole transformers against torch."""

from __future__ import annotations

import math
import warnings
from typing import Any

from tests.specs.parity import Case, case, check, each, torch
from tests.specs.weights import Weights, attention, decoder_layer, dense, encoder_layer, stack

nn, functional = torch.nn, torch.nn.functional
SIZES = ({"batch": 1, "T": 1, "S": 3}, {"batch": 2, "T": 5, "S": 4}, {"batch": 7, "T": 3, "S": 6})
X = ("batch", "T", 8)
MEMORY = ("batch", "S", 8)


class Attention(nn.Module):  # type: ignore[misc]
    """nn.MultiheadAttention, with masks that are true where there is a key."""

    def __init__(self, heads: int, causal: bool = False, source: int | None = None, **options: Any) -> None:
        super().__init__()
        self.module = nn.MultiheadAttention(8, heads, batch_first=True, kdim=source, vdim=source, **options)
        self.causal = causal

    def forward(self, q: Any, k: Any = None, mask: Any = None) -> Any:
        k = q if k is None else k
        hidden = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).triu(1) if self.causal else None
        return self.module(
            q, k, k, key_padding_mask=None if mask is None else ~mask, attn_mask=hidden, need_weights=False
        )[0]


class Masked(Attention):
    def forward(self, q: Any, mask: Any) -> Any:
        return super().forward(q, None, mask)


class OfPairs(nn.Module):  # type: ignore[misc]
    """nn.MultiheadAttention with an `attn_mask` of numbers to add, or true where a query may look at a key."""

    def __init__(self, added_padding: bool = False) -> None:
        super().__init__()
        self.module = nn.MultiheadAttention(8, 2, batch_first=True)
        self.added_padding = added_padding

    def forward(self, q: Any, k: Any, given: Any, mask: Any = None) -> Any:
        if self.added_padding:
            given, mask = None, given
        elif given.ndim > 2:  # torch has batches and heads in one axis
            given = given[:, None] if given.ndim == 3 else given
            given = given.expand(len(q), 2, -1, -1).flatten(0, 1)
        hidden = [None if each is None else ~each if each.dtype == torch.bool else each for each in (given, mask)]
        return self.module(q, k, k, attn_mask=hidden[0], key_padding_mask=hidden[1], need_weights=False)[0]


def some_pairs(random: Any, shape: tuple[int, ...]) -> Any:
    """True mostly; the first query of each may see nothing."""
    found = random.random(shape) < 0.7
    found[..., 0, :] = False
    return found


def half(random: Any, shape: tuple[int, ...]) -> Any:
    return random.random(shape) < 0.5


def weighed(scores: Any, mask: Any) -> Any:
    """The weights that scaled_dot_product_attention has, which gives a query that sees no key 0."""
    values = torch.eye(scores.shape[-1], dtype=scores.dtype).expand(*scores.shape[:2], -1, -1)
    q = torch.eye(scores.shape[-2], dtype=scores.dtype).expand(*scores.shape[:2], -1, -1)
    return functional.scaled_dot_product_attention(q, scores.mT, values, mask[:, None, None], scale=1.0)


def of_pairs(label: str, call: str, shape: tuple[str | int, ...], kind: str) -> Case:
    return case(
        label,
        f"attend = MultiHeadAttention(2)\noutput attend(x, memory, memory, {call})",
        OfPairs("padding" in label),
        lambda module: attention("attend")(module.module),
        types={"given": "bool"} if kind == "bool" else {},
        draws={"given": some_pairs} if kind == "bool" else {},
        sizes=SIZES,
        x=X,
        memory=MEMORY,
        given=shape,
    )


def weights(module: Any) -> Weights:
    return attention("multi_head_attention")(module.module)


class Grouped(nn.Module):  # type: ignore[misc]
    """Grouped-query attention by scaled_dot_product_attention."""

    def __init__(self, causal: bool = False, rotary: bool = False, d: int = 2) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(8, 4 * d), nn.Linear(8, 2 * d), nn.Linear(8, 2 * d)
        self.o = nn.Linear(4 * d, 8)
        self.causal, self.rotary, self.d = causal, rotary, d

    def forward(self, x: Any, frequencies: Any = None) -> Any:
        q, k, v = (
            layer(x).unflatten(-1, (heads, self.d)).transpose(1, 2)
            for layer, heads in ((self.q, 4), (self.k, 2), (self.v, 2))
        )
        if self.rotary:
            q, k = turned(q, frequencies), turned(k, frequencies)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal, enable_gqa=True)
        return self.o(y.transpose(1, 2).flatten(2))


def grouped_weights(module: Any) -> Weights:
    found: Weights = {}
    for name in "qkvo":
        layer = getattr(module, name)
        found |= {f"multi_head_attention.W_{name}": layer.weight.T, f"multi_head_attention.b_{name}": layer.bias}
    return found


def turned(x: Any, rates: Any = None) -> Any:
    """Rotary positions as complex numbers."""
    half = x.shape[-1] // 2
    rates = 10000.0 ** (-torch.arange(half, dtype=x.dtype) / half) if rates is None else rates
    angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * rates
    z = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([z.real, z.imag], -1)


def sinusoids(x: Any) -> Any:
    """Section 3.5 of the paper, position by position."""
    table = torch.zeros(x.shape[1], x.shape[2], dtype=x.dtype)
    for position in range(x.shape[1]):
        for i in range(x.shape[2] // 2):
            angle = position / 10000 ** (2 * i / x.shape[2])
            table[position, 2 * i], table[position, 2 * i + 1] = math.sin(angle), math.cos(angle)
    return x + table


ATTENTION = (
    case(
        "weights of scores",
        "output attention_weights(scores, mask)",
        weighed,
        types={"mask": "bool"},
        draws={"mask": half},
        sizes=SIZES,
        scores=("batch", 2, "T", "S"),
        mask=("batch", "S"),
    ),
    case(
        "scores of a few keys",
        "output softmax(masked(scores, mask), axis: -1)",
        lambda scores, mask: torch.softmax(scores.masked_fill(~mask[:, None, None], -1e300), -1),
        types={"mask": "bool"},
        draws={"mask": half},
        sizes=SIZES,
        scores=("batch", 2, "T", "S"),
        mask=("batch", "S"),
    ),
    case("self-attention", "output x -> MultiHeadAttention(2)", Attention(2), weights, sizes=SIZES, x=X),
    case("one head", "output x -> MultiHeadAttention(1)", Attention(1), weights, sizes=SIZES, x=X),
    case(
        "attention without bias",
        "output x -> MultiHeadAttention(4, bias: false)",
        Attention(4, bias=False),
        weights,
        sizes=SIZES,
        x=X,
    ),
    case(
        "causal",
        "output x -> MultiHeadAttention(2, causal: true)",
        Attention(2, causal=True),
        weights,
        sizes=SIZES,
        x=X,
    ),
    case(
        "cross-attention",
        "attend = MultiHeadAttention(2)\noutput attend(x, memory, memory)",
        Attention(2),
        lambda module: attention("attend")(module.module),
        sizes=SIZES,
        x=X,
        memory=MEMORY,
    ),
    case(
        "keys of another width",
        "attend = MultiHeadAttention(2)\noutput attend(x, memory)",
        Attention(2, source=5),
        lambda module: attention("attend")(module.module),
        sizes=SIZES,
        x=X,
        memory=("batch", "S", 5),
    ),
    case(
        "padding hidden",
        "attend = MultiHeadAttention(2)\noutput attend(x, memory, memory, mask: mask)",
        Attention(2),
        lambda module: attention("attend")(module.module),
        types={"mask": "bool"},
        sizes=SIZES,
        x=X,
        memory=MEMORY,
        mask=("batch", "S"),
    ),
    case(
        "padding and the future hidden",
        "attend = MultiHeadAttention(2, causal: true)\noutput attend(x, mask: mask)",
        Masked(2, causal=True),
        lambda module: attention("attend")(module.module),
        types={"mask": "bool"},
        sizes=SIZES,
        x=X,
        mask=("batch", "T"),
    ),
    case(
        "grouped queries",
        "output x -> MultiHeadAttention(4, kv_heads: 2)",
        Grouped(),
        grouped_weights,
        sizes=SIZES,
        x=X,
    ),
    case(
        "grouped queries, causal",
        "output x -> MultiHeadAttention(4, kv_heads: 2, causal: true)",
        Grouped(causal=True),
        grouped_weights,
        sizes=SIZES,
        x=X,
    ),
    case(
        "rotary positions",
        "output x -> MultiHeadAttention(4, kv_heads: 2, causal: true, rotary: true)",
        Grouped(causal=True, rotary=True),
        grouped_weights,
        sizes=SIZES,
        x=X,
    ),
    case(
        "heads of a width of their own",
        "output x -> MultiHeadAttention(4, kv_heads: 2, causal: true, rotary: true, head_width: 6)",
        Grouped(causal=True, rotary=True, d=6),
        grouped_weights,
        sizes=SIZES,
        x=X,
    ),
    case(
        "rotary positions of given frequencies",
        "attend = MultiHeadAttention(4, kv_heads: 2, head_width: 6)\noutput attend(x, frequencies: frequencies)",
        Grouped(rotary=True, d=6),
        lambda module: {
            name.replace("multi_head_attention", "attend"): each for name, each in grouped_weights(module).items()
        },
        sizes=SIZES,
        x=X,
        frequencies=(3,),
    ),
    case("sinusoids", "output x -> SinusoidalPositions()", sinusoids, sizes=SIZES, x=X),
    case(
        "learned positions",
        "output x -> LearnedPositions(10)",
        type("Learned", (nn.Embedding,), {"forward": lambda self, x: x + self.weight[: x.shape[1]]})(10, 8),
        lambda module: {"learned_positions.table": module.weight},
        sizes=SIZES,
        x=X,
    ),
)


def encoder(norm_first: bool, activation: str, final_norm: bool, depth: int = 2) -> Any:
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, activation, batch_first=True, norm_first=norm_first)
    return nn.TransformerEncoder(layer, depth, nn.LayerNorm(8) if final_norm else None, enable_nested_tensor=False)


class Padded(nn.Module):  # type: ignore[misc]
    """An encoder with a mask that is true where there is a token."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module
        self.layers, self.norm = module.layers, module.norm

    def forward(self, x: Any, mask: Any) -> Any:
        return self.module(x, src_key_padding_mask=~mask)


class Transformer(nn.Module):  # type: ignore[misc]
    """nn.Transformer with padding in the source and a causal target."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        with warnings.catch_warnings(action="ignore"):  # nested tensors, which we do not ask for
            self.module = nn.Transformer(8, 2, 2, 2, 16, 0.0, batch_first=True, **options)

    def forward(self, x: Any, memory: Any, mask: Any) -> Any:
        causal = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        return self.module(memory, x, tgt_mask=causal, src_key_padding_mask=~mask, memory_key_padding_mask=~mask)


def transformer_weights(module: Any) -> Weights:
    found = stack("encoder", encoder_layer)(module.module.encoder)
    return found | stack("decoder", decoder_layer)(module.module.decoder)


TRANSFORMER = """
encoder = TransformerEncoder(2, 2, 16, 0, final_norm: true{options})
decoder = TransformerDecoder(2, 2, 16, 0, final_norm: true{options})
output decoder(x, encoder(memory, mask: mask), memory_mask: mask)
"""

TRANSFORMERS = (
    *(
        case(
            f"an encoder, norm first {first}, {activation}, last norm {final}",
            f"encoder = TransformerEncoder(2, 2, 16, 0, {str(first).lower()}, {activation}, "
            f"final_norm: {str(final).lower()})\noutput encoder(x)",
            encoder(first, activation, final),
            stack("encoder", encoder_layer),
            sizes=SIZES,
            x=X,
        )
        for first, activation, final in (
            (False, "relu", False),
            (True, "relu", True),
            (False, "gelu", True),
            (True, "gelu", False),
        )
    ),
    case(
        "an encoder with padding",
        "encoder = TransformerEncoder(2, 2, 16, 0)\noutput encoder(x, mask: mask)",
        Padded(encoder(False, "relu", False)),
        stack("encoder", encoder_layer),
        types={"mask": "bool"},
        sizes=SIZES,
        x=X,
        mask=("batch", "T"),
    ),
    case(
        "nn.Transformer",
        TRANSFORMER.format(options=""),
        Transformer(),
        transformer_weights,
        types={"mask": "bool"},
        sizes=SIZES,
        x=X,
        memory=MEMORY,
        mask=("batch", "S"),
    ),
    case(
        "nn.Transformer, norm first, gelu",
        TRANSFORMER.format(options=", norm_first: true, activation: gelu"),
        Transformer(norm_first=True, activation="gelu"),
        transformer_weights,
        types={"mask": "bool"},
        sizes=SIZES,
        x=X,
        memory=MEMORY,
        mask=("batch", "S"),
    ),
    case(
        "a gated feed-forward network",
        "output x -> FeedForward(16, silu, gated: true)",
        type(
            "Gated",
            (nn.Module,),
            {"forward": lambda self, x: self.down(functional.silu(self.up(x)) * self.gate(x))},
        )(),
        lambda module: {
            path: value
            for name in ("up", "gate", "down")
            for path, value in dense(f"feed_forward.{name}")(getattr(module, name)).items()
        },
        sizes=SIZES,
        x=X,
    ),
)
_gated = TRANSFORMERS[-1].module
_gated.up, _gated.gate, _gated.down = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 8)


FORMS: tuple[tuple[str, tuple[str | int, ...]], ...] = (
    ("of all", ("T", "S")),
    ("of each batch", ("batch", "T", "S")),
    ("of each head", ("batch", 2, "T", "S")),
    ("of heads alike", ("batch", 1, "T", "S")),
)
PAIRS = (
    *(of_pairs(f"pairs {label}", "pairs: given", shape, "bool") for label, shape in FORMS),
    *(of_pairs(f"a bias {label}", "score_bias: given", shape, "float") for label, shape in FORMS),
    of_pairs(
        "a padding of numbers",
        "score_bias: unsqueeze(given, 1) + zeros([size(x, 1), 1])",
        ("batch", "S"),
        "float",
    ),
    case(
        "pairs and padding hidden",
        "attend = MultiHeadAttention(2)\noutput attend(x, memory, memory, pairs: given, mask: mask)",
        OfPairs(),
        lambda module: attention("attend")(module.module),
        types={"given": "bool", "mask": "bool"},
        draws={"given": some_pairs},
        sizes=SIZES,
        x=X,
        memory=MEMORY,
        given=("T", "S"),
        mask=("batch", "S"),
    ),
)


@each(ATTENTION)
def test_attention_is_torchs(case: Case) -> None:
    check(case)


@each(PAIRS)
def test_masks_of_pairs_are_torchs(case: Case) -> None:
    check(case)


@each(TRANSFORMERS)
def test_transformers_are_torchs(case: Case) -> None:
    check(case)

"""How torch's weights map to the library's: one function for each layer, from a module to parameters by path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Weights = dict[str, Any]
Map = Callable[[Any], Weights]


def dense(path: str) -> Map:
    """nn.Linear, which holds the transpose."""

    def weights(module: Any) -> Weights:
        found = {f"{path}.W": module.weight.T}
        return found | ({f"{path}.b": module.bias} if module.bias is not None else {})

    return weights


def same(path: str, **names: str) -> Map:
    """Parameters and buffers that have one form in both; `ours="theirs"`."""
    return lambda module: {f"{path}.{ours}": getattr(module, theirs) for ours, theirs in names.items()}


def convolution(path: str) -> Map:
    return lambda module: {f"{path}.W": module.weight} | ({f"{path}.b": module.bias} if module.bias is not None else {})


def norm(path: str) -> Map:
    return same(path, gamma="weight", beta="bias")


def batch_norm(path: str) -> Map:
    return same(path, gamma="weight", beta="bias", running_mean="running_mean", running_variance="running_var")


def rnn(path: str, suffix: str = "l0") -> Map:
    def weights(module: Any) -> Weights:
        w_x, w_h, b_x, b_h = _recurrent(module, suffix)
        return {f"{path}.W_xh": w_x, f"{path}.W_hh": w_h, f"{path}.b_h": b_x + b_h}

    return weights


def lstm(path: str, suffix: str = "l0") -> Map:
    """Torch stacks the gates i, f, g, o."""

    def weights(module: Any) -> Weights:
        found: Weights = {}
        parts = [each.chunk(4) for each in _recurrent(module, suffix)]
        for gate, w_x, w_h, b_x, b_h in zip("ifgo", *parts, strict=True):
            found |= {f"{path}.W_x{gate}": w_x, f"{path}.W_h{gate}": w_h, f"{path}.b_{gate}": b_x + b_h}
        return found

    return weights


def gru(path: str, suffix: str = "l0") -> Map:
    """Torch stacks the gates r, z, n, and keeps two biases of n apart."""

    def weights(module: Any) -> Weights:
        found: Weights = {}
        parts = [each.chunk(3) for each in _recurrent(module, suffix)]
        for gate, w_x, w_h, b_x, b_h in zip("rzn", *parts, strict=True):
            found |= {f"{path}.W_x{gate}": w_x, f"{path}.W_h{gate}": w_h}
            found |= {f"{path}.b_n": b_x, f"{path}.b_hn": b_h} if gate == "n" else {f"{path}.b_{gate}": b_x + b_h}
        return found

    return weights


def _recurrent(module: Any, suffix: str) -> tuple[Any, ...]:
    return tuple(getattr(module, f"{name}_{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def attention(path: str) -> Map:
    """nn.MultiheadAttention, whose three input maps are stacked, or apart where keys have another width."""

    def weights(module: Any) -> Weights:
        found: Weights = {f"{path}.W_o": module.out_proj.weight.T}
        if module.in_proj_weight is not None:
            parts = module.in_proj_weight.chunk(3)
        else:
            parts = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        found |= {f"{path}.W_{name}": part.T for name, part in zip("qkv", parts, strict=True)}
        if module.in_proj_bias is not None:
            biases = module.in_proj_bias.chunk(3)
            found |= {f"{path}.b_{name}": part for name, part in zip("qkv", biases, strict=True)}
            found[f"{path}.b_o"] = module.out_proj.bias
        return found

    return weights


def encoder_layer(path: str) -> Map:
    return together(
        (lambda m: m.self_attn, attention(f"{path}.attention")),
        (lambda m: m.linear1, dense(f"{path}.feed_forward.up")),
        (lambda m: m.linear2, dense(f"{path}.feed_forward.down")),
        (lambda m: m.norm1, norm(f"{path}.norm_1")),
        (lambda m: m.norm2, norm(f"{path}.norm_2")),
    )


def decoder_layer(path: str) -> Map:
    return together(
        (lambda m: m, encoder_layer(path)),
        (lambda m: m.multihead_attn, attention(f"{path}.cross_attention")),
        (lambda m: m.norm3, norm(f"{path}.norm_3")),
    )


def stack(path: str, layer: Callable[[str], Map]) -> Map:
    """nn.TransformerEncoder or nn.TransformerDecoder: their layers, and the last norm if there is one."""

    def weights(module: Any) -> Weights:
        found: Weights = {}
        for place, each in enumerate(module.layers):
            found |= layer(f"{path}.block.{place}")(each)
        return found | (norm(f"{path}.norm")(module.norm) if module.norm is not None else {})

    return weights


def together(*parts: tuple[Callable[[Any], Any], Map]) -> Map:
    """Several parts of a module: how to reach each, and its map."""

    def weights(module: Any) -> Weights:
        found: Weights = {}
        for reach, part in parts:
            found |= part(reach(module))
        return found

    return weights


def at(index: int, part: Map) -> tuple[Callable[[Any], Any], Map]:
    """The part at an index of nn.Sequential."""
    return (lambda module: module[index]), part

"""The state of PyTorch's modules from our weights by path, so that all contenders compute the same numbers.

Our dense matrices are [in, out], those of recurrent cells and convolutions are as PyTorch's. PyTorch's recurrent cells
have two biases, of which the second is set to zero, where our equations have one.
"""

from __future__ import annotations

import re

import numpy as np

Weights = dict[str, np.ndarray]


def mlp(ours: Weights) -> Weights:
    return _dense(ours, {"dense": "0", "dense_1": "2", "dense_2": "4"})


def cnn(ours: Weights) -> Weights:
    convolutions = {
        f"{index}.{torch}": ours[f"{name}.{own}"]
        for name, index in (("conv2d", 0), ("conv2d_1", 3))
        for own, torch in (("W", "weight"), ("b", "bias"))
    }
    return convolutions | _dense(ours, {"dense": "7", "dense_1": "9"})


def recurrent(kind: str, ours: Weights) -> Weights:
    """The gates in PyTorch's order: i, f, g, o of an LSTM; r, z, n of a GRU."""
    gates = {"rnn": "h", "lstm": "ifgo", "gru": "rzn"}[kind]
    layer = {"rnn": "simple_rnn.rnn_cell", "lstm": "lstm.lstm_cell", "gru": "gru.gru_cell"}[kind]

    def packed(prefix: str) -> np.ndarray:
        return np.concatenate([ours[f"{layer}.{prefix}{gate}"] for gate in gates])

    second = np.zeros_like(packed("b_"))
    if kind == "gru":
        second[-len(ours[f"{layer}.b_hn"]) :] = ours[f"{layer}.b_hn"]
    inputs = packed("W_x")
    states = ours[f"{layer}.W_hh"] if kind == "rnn" else packed("W_h")
    cell = {"weight_ih_l0": inputs, "weight_hh_l0": states, "bias_ih_l0": packed("b_"), "bias_hh_l0": second}
    return {f"cell.{name}": array for name, array in cell.items()} | _dense(ours, {"dense": "last"})


def transformer(ours: Weights) -> Weights:
    """Of `torch.nn.Transformer` with a dense layer after it."""
    state = _dense(ours, {"dense": "last"})
    for path in ours:
        if not (
            match := re.fullmatch(r"transformer_(encoder|decoder)\.block\.(\d+)\.(\w+)\.(?:W_q|gamma|up\.W)", path)
        ):
            continue
        side, index, part = match.groups()
        own, torch = f"transformer_{side}.block.{index}.{part}", f"body.{side}.layers.{index}"
        if part.endswith("attention"):
            state |= _attention(ours, own, f"{torch}.{'multihead_attn' if part.startswith('cross') else 'self_attn'}")
        elif part == "feed_forward":
            state |= _dense(ours, {f"{own}.up": f"{torch}.linear1", f"{own}.down": f"{torch}.linear2"})
        else:
            state |= _norm(ours, own, f"{torch}.{part.replace('_', '')}")
    for side in ("encoder", "decoder"):
        state |= _norm(ours, f"transformer_{side}.norm", f"body.{side}.norm")
    return state


def residual(ours: Weights) -> Weights:
    """Of `residual_networks.residual_network`: a stem of four layers, the blocks, pool, flatten and a dense layer."""
    blocks = sorted(
        {tuple(map(int, match.groups())) for path in ours if (match := re.match(r"block\.(\d)\.(\d)", path))}
    )
    state = {"0.weight": ours["conv2d.W"]} | _batch_norm(ours, "batch_norm", "1")
    for number, (stage, index) in enumerate(blocks):
        own, torch = f"block.{stage}.{index}", f"{4 + number}"
        convolutions = sorted(path for path in ours if re.fullmatch(rf"{re.escape(own)}\.conv2d(_\d)?\.W", path))
        bottleneck = ours[convolutions[0]].shape[-1] == 1
        for count, path in enumerate(convolutions):
            suffix = f"_{count}" if count else ""
            shortcut = count == (3 if bottleneck else 2)
            block = f"{torch}.short.0" if shortcut else f"{torch}.body.{3 * count}"
            norm = f"{torch}.short.1" if shortcut else f"{torch}.body.{3 * count + 1}"
            state |= {f"{block}.weight": ours[path]} | _batch_norm(ours, f"{own}.batch_norm{suffix}", norm)
    return state | _dense(ours, {"dense": f"{4 + len(blocks) + 2}"})


def gpt2(ours: Weights) -> Weights:
    state = {"table.weight": ours["embedding.table"], "positions.weight": ours["learned_positions.table"]}
    state |= _norm(ours, "layer_norm", "norm")
    for index in _blocks(ours, "block"):
        own, torch = f"block.{index}", f"blocks.{index}"
        packed = _attention(ours, f"{own}.attention", "attention")
        state |= {f"{torch}.qkv.{name}": packed[f"attention.in_proj_{name}"] for name in ("weight", "bias")}
        state |= {f"{torch}.out.{name}": packed[f"attention.out_proj.{name}"] for name in ("weight", "bias")}
        state |= _dense(ours, {f"{own}.feed_forward.{name}": f"{torch}.{name}" for name in ("up", "down")})
        for norm in ("norm_1", "norm_2"):
            state |= _norm(ours, f"{own}.{norm}", f"{torch}.{norm}")
    return state


def bert(ours: Weights) -> Weights:
    """Of transformers' `BertForMaskedLM`."""
    state = {
        "bert.embeddings.word_embeddings.weight": ours["embedding.table"],
        "bert.embeddings.position_embeddings.weight": ours["learned_positions.table"],
        "bert.embeddings.token_type_embeddings.weight": ours["segment.table"],
        "cls.predictions.decoder.weight": ours["embedding.table"],
        "cls.predictions.decoder.bias": ours["b_vocabulary"],
        "cls.predictions.bias": ours["b_vocabulary"],
    }
    state |= _norm(ours, "layer_norm", "bert.embeddings.LayerNorm")
    state |= _norm(ours, "layer_norm_1", "cls.predictions.transform.LayerNorm")
    state |= _dense(ours, {"transform": "cls.predictions.transform.dense"})
    for index in _blocks(ours, "encoder.block"):
        own, torch = f"encoder.block.{index}", f"bert.encoder.layer.{index}"
        for letter, name in (("q", "self.query"), ("k", "self.key"), ("v", "self.value"), ("o", "output.dense")):
            state[f"{torch}.attention.{name}.weight"] = ours[f"{own}.attention.W_{letter}"].T
            state[f"{torch}.attention.{name}.bias"] = ours[f"{own}.attention.b_{letter}"]
        up, down = f"{own}.feed_forward.up", f"{own}.feed_forward.down"
        state |= _dense(ours, {up: f"{torch}.intermediate.dense", down: f"{torch}.output.dense"})
        state |= _norm(ours, f"{own}.norm_1", f"{torch}.attention.output.LayerNorm")
        state |= _norm(ours, f"{own}.norm_2", f"{torch}.output.LayerNorm")
    return state


def _blocks(ours: Weights, prefix: str) -> list[int]:
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)\.")
    return sorted({int(match[1]) for path in ours if (match := pattern.match(path))})


def _dense(ours: Weights, names: dict[str, str]) -> Weights:
    state = {f"{torch}.weight": ours[f"{own}.W"].T for own, torch in names.items()}
    return state | {f"{torch}.bias": ours[f"{own}.b"] for own, torch in names.items()}


def _norm(ours: Weights, own: str, torch: str) -> Weights:
    return {f"{torch}.weight": ours[f"{own}.gamma"], f"{torch}.bias": ours[f"{own}.beta"]}


def _batch_norm(ours: Weights, own: str, torch: str) -> Weights:
    running = {
        f"{torch}.running_mean": ours[f"{own}.running_mean"],
        f"{torch}.running_var": ours[f"{own}.running_variance"],
    }
    return _norm(ours, own, torch) | running


def _attention(ours: Weights, own: str, torch: str) -> Weights:
    """Query, key and value packed, as `torch.nn.MultiheadAttention` has them."""
    return {
        f"{torch}.in_proj_weight": np.concatenate([ours[f"{own}.W_{letter}"].T for letter in "qkv"]),
        f"{torch}.in_proj_bias": np.concatenate([ours[f"{own}.b_{letter}"] for letter in "qkv"]),
        f"{torch}.out_proj.weight": ours[f"{own}.W_o"].T,
        f"{torch}.out_proj.bias": ours[f"{own}.b_o"],
    }

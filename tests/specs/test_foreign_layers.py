"""Layers of PyTorch and Keras load into the library's by the shipped rules, and then compute the same."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError
from runtime.rename_rules import read_renames
from runtime.weights import fit_weights
from tests.paths import SPECS

torch = pytest.importorskip("torch", reason="the oracle is PyTorch: pip install 'nablac[oracle]'")
nn = torch.nn

SEQUENCE = "[batch, T, 3]"
IMAGE = "[batch, 3, 8, 8]"

# By label: the module, and the text of the model's layer, which has the module's name `net`.
MODULES: dict[str, tuple[Any, str, str]] = {
    "LSTM": (lambda: nn.LSTM(3, 4, batch_first=True), "LSTM(4, sequences: true)", SEQUENCE),
    "GRU": (lambda: nn.GRU(3, 4, batch_first=True), "GRU(4, sequences: true)", SEQUENCE),
    "RNN": (lambda: nn.RNN(3, 4, batch_first=True), "SimpleRNN(4, sequences: true)", SEQUENCE),
    "LSTM in both directions": (
        lambda: nn.LSTM(3, 4, batch_first=True, bidirectional=True),
        "Bidirectional(LSTM(4, sequences: true))",
        SEQUENCE,
    ),
    "GRU in both directions": (
        lambda: nn.GRU(3, 4, batch_first=True, bidirectional=True),
        "Bidirectional(GRU(4, sequences: true))",
        SEQUENCE,
    ),
    "RNN in both directions": (
        lambda: nn.RNN(3, 4, batch_first=True, bidirectional=True),
        "Bidirectional(SimpleRNN(4, sequences: true))",
        SEQUENCE,
    ),
    "Linear": (lambda: nn.Linear(3, 3), "Dense(3)", SEQUENCE),
    "Linear without bias": (lambda: nn.Linear(3, 4, bias=False), "Dense(4, bias: false)", SEQUENCE),
    "Conv1d": (lambda: nn.Conv1d(3, 4, 3, padding="same"), "Conv1D(4, 3)", "[batch, 3, length]"),
    "Conv2d": (lambda: nn.Conv2d(3, 3, 3, stride=2, padding=1), "Conv2D(3, 3, 2, 1)", IMAGE),
    "Conv2d in groups": (lambda: nn.Conv2d(3, 6, 3, padding=1, groups=3), "Conv2D(6, 3, groups: 3)", IMAGE),
    "Conv2d, depthwise": (lambda: nn.Conv2d(3, 6, 3, padding=1, groups=3), "DepthwiseConv2D(3, multiplier: 2)", IMAGE),
    "Conv3d": (lambda: nn.Conv3d(3, 4, 3, padding=1), "Conv3D(4, 3)", "[batch, 3, 4, 5, 6]"),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 3, 3), 'ConvTranspose2D(3, 3, padding: "valid")', IMAGE),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), "BatchNorm()", IMAGE),
    "LayerNorm": (lambda: nn.LayerNorm(3), "LayerNorm()", SEQUENCE),
    "GroupNorm": (lambda: nn.GroupNorm(3, 3), "GroupNorm(3)", IMAGE),
}


def random_input(declared: str, batch: int = 2) -> Any:
    sizes = {"batch": batch, "T": 5, "length": 7}
    shape = [sizes.get(size) or int(size) for size in declared.strip("[]").split(", ")]
    return np.random.default_rng(0).normal(size=shape)


def result_of(text: str | Path, state: Mapping[str, Any], rules: list[str], x: Any) -> Any:
    """What a model of this text makes of `x`, with foreign weights by these rules."""
    model = nablac.compile(text, dtype="f64")
    notes: list[str] = []
    weights = fit_weights(state, model.graph, "file", read_renames(rules), say=lambda text: notes.append(str(text)))
    model.weights.update(weights)
    assert not notes
    return model(x=x)["y"]


def randomized(module: Any) -> Any:
    """A module in float64, whose scales, shifts and running means are random too."""
    chance = torch.Generator().manual_seed(0)
    module = module.double().eval()
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                value.copy_(
                    torch.rand(value.shape, generator=chance, dtype=value.dtype) - (0.5 if "var" not in name else -0.5)
                )
    return module


def arrays_of(module: Any) -> dict[str, Any]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


def output_of(module: Any, x: Any) -> Any:
    with torch.no_grad():
        y = module(torch.from_numpy(x))
    return (y[0] if isinstance(y, tuple) else y).numpy()


@pytest.mark.parametrize("label", MODULES)
@pytest.mark.parametrize("prefix", ["net.", ""], ids=["in a model", "alone"])
def test_a_module_of_pytorch_loads(label: str, prefix: str) -> None:
    build, layer, declared = MODULES[label]
    module, x = randomized(build()), random_input(declared)
    text = f"model M {{ input x: {declared}; net = {layer}; output y = net(x) }}\n"
    rules = ["pytorch"] if prefix else ["* -> net.* by pytorch"]
    state = {prefix + name: array for name, array in arrays_of(module).items()}
    np.testing.assert_allclose(result_of(text, state, rules, x), output_of(module, x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("both", [False, True], ids=["one direction", "both directions"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_the_layers_of_a_stack_are_those_of_a_loop(kind: str, both: bool) -> None:
    module = randomized(getattr(nn, kind)(3, 4, num_layers=3, batch_first=True, bidirectional=both))
    layer = f"{kind}(4, sequences: true)"
    layer = f"Bidirectional({layer})" if both else layer
    text = f"model M {{ input x: {SEQUENCE}; for i in 0..3 {{ net = {layer}; x = net(x) }}; output y = x }}\n"
    x = random_input(SEQUENCE)
    state = {f"net.{name}": array for name, array in arrays_of(module).items()}
    np.testing.assert_allclose(result_of(text, state, ["pytorch"], x), output_of(module, x), rtol=1e-10, atol=1e-12)


def test_an_embedding_loads() -> None:
    module = nn.Embedding(5, 3).double()
    x = np.array([[1, 4, 0]])
    text = "model M { input x: i64[batch, T]; net = Embedding(5, 3); output y = net(x) }\n"
    assert np.array_equal(
        result_of(text, {"net.weight": module.weight.detach().numpy()}, ["pytorch"], x), output_of(module, x)
    )


class Block(nn.Module):  # type: ignore[misc, name-defined]
    """torchvision's BasicBlock, or its Bottleneck, with its names."""

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        sizes = [(1, 1), (3, stride), (1, 1)] if bottleneck else [(3, stride), (3, 1)]
        out = width * 4 if bottleneck else width
        self.count = len(sizes)
        for number, (kernel, step) in enumerate(sizes, start=1):
            before = channels if number == 1 else width
            after = out if number == self.count else width
            setattr(self, f"conv{number}", nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False))
            setattr(self, f"bn{number}", nn.BatchNorm2d(after))
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        else:
            self.downsample = nn.Identity()

    def forward(self, x: Any) -> Any:
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = torch.relu(y) if number < self.count else y
        return torch.relu(y + self.downsample(x))


class ResNet(nn.Module):  # type: ignore[misc, name-defined]
    """torchvision's ResNet, with its names."""

    def __init__(self, blocks: list[int], bottleneck: bool, width: int, classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        for stage, count in enumerate(blocks, start=1):
            layer = []
            for i in range(count):
                inner = width * 2 ** (stage - 1)
                layer.append(Block(channels, inner, 2 if stage > 1 and i == 0 else 1, bottleneck))
                channels = inner * (4 if bottleneck else 1)
            setattr(self, f"layer{stage}", nn.Sequential(*layer))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


def randomized_network(network: Any) -> Any:
    """A network of the usual initial values, with random scales, shifts and running statistics near theirs."""
    torch.manual_seed(0)
    network = network.eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for value in (module.weight, module.running_var):
                    value.copy_(0.5 + torch.rand_like(value))
                for value in (module.bias, module.running_mean):
                    value.copy_(0.1 * torch.randn_like(value))
    return network


@pytest.mark.parametrize(
    ("preset", "blocks", "bottleneck", "width", "classes"),
    [("resnet18", [2, 2, 2, 2], False, 64, 1000), (None, [3, 4, 6, 3], True, 8, 10)],
    ids=["ResNet-18", "a narrow ResNet-50"],
)
def test_torchvisions_resnets_load(
    preset: str | None, blocks: list[int], bottleneck: bool, width: int, classes: int, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    network = randomized_network(ResNet(blocks, bottleneck, width, classes))
    save_file(network.state_dict(), tmp_path / "resnet.safetensors")
    hypers = {} if preset else {"blocks": blocks, "bottleneck": bottleneck, "width": width}
    model = nablac.compile(SPECS / "resnet.model", preset=preset, **hypers)
    model.load(tmp_path / "resnet.safetensors", "torchvision")
    image = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    expected = output_of(network, image)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(model(image=image)["logits"], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_a_network_within_another_loads_by_its_own_rules(tmp_path: Path) -> None:
    network = randomized_network(ResNet([1, 1, 1, 1], False, 4, 3)).double()
    state = {f"backbone.{name}": array for name, array in arrays_of(network).items()}
    shutil.copy(SPECS / "resnet.model", tmp_path)
    text = 'from "resnet.model" import ResNet\nmodel M { input x: [batch, 3, 32, 32]; '
    text += "encoder = ResNet(blocks: [1, 1, 1, 1], width: 4, classes: 3); output y = encoder(x) }\n"
    (tmp_path / "m.model").write_text(text)
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 32))
    result = result_of(tmp_path / "m.model", state, ["backbone.* -> encoder.* by torchvision"], x)
    np.testing.assert_allclose(result, output_of(network, x), rtol=1e-10, atol=1e-12)


needs_keras = pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="needs keras")


def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    return keras


# By label: Keras's layer, ours, the declared input and the axes of Keras's input.
FROM_KERAS: dict[str, tuple[str, str, str, list[int] | None]] = {
    "LSTM": ("LSTM(4, return_sequences=True)", "LSTM(4, sequences: true)", SEQUENCE, None),
    "GRU": ("GRU(4, return_sequences=True)", "GRU(4, sequences: true)", SEQUENCE, None),
    "GRU that resets before": (
        "GRU(4, return_sequences=True, reset_after=False)",
        "GRU(4, reset_after: false, sequences: true)",
        SEQUENCE,
        None,
    ),
    "SimpleRNN": ("SimpleRNN(4, return_sequences=True)", "SimpleRNN(4, sequences: true)", SEQUENCE, None),
    "LSTM in both directions": (
        "Bidirectional(keras.layers.LSTM(4, return_sequences=True))",
        "Bidirectional(LSTM(4, sequences: true))",
        SEQUENCE,
        None,
    ),
    "GRU in both directions": (
        "Bidirectional(keras.layers.GRU(4, return_sequences=True))",
        "Bidirectional(GRU(4, sequences: true))",
        SEQUENCE,
        None,
    ),
    "SimpleRNN in both directions": (
        "Bidirectional(keras.layers.SimpleRNN(4, return_sequences=True))",
        "Bidirectional(SimpleRNN(4, sequences: true))",
        SEQUENCE,
        None,
    ),
    "Dense": ("Dense(3)", "Dense(3)", SEQUENCE, None),
    "Conv1D": ("Conv1D(4, 3, padding='same')", "Conv1D(4, 3)", "[batch, 3, 7]", [0, 2, 1]),
    "Conv2D": ("Conv2D(3, 3, padding='same')", "Conv2D(3, 3)", IMAGE, [0, 2, 3, 1]),
    "Conv3D": ("Conv3D(4, 3, padding='same')", "Conv3D(4, 3)", "[batch, 3, 4, 5, 6]", [0, 2, 3, 4, 1]),
    "DepthwiseConv2D": ("DepthwiseConv2D(3, padding='same')", "DepthwiseConv2D(3)", IMAGE, [0, 2, 3, 1]),
    "DepthwiseConv2D with a multiplier": (
        "DepthwiseConv2D(3, depth_multiplier=2, padding='same')",
        "DepthwiseConv2D(3, multiplier: 2)",
        IMAGE,
        [0, 2, 3, 1],
    ),
    "SeparableConv2D": ("SeparableConv2D(4, 3, padding='same')", "SeparableConv2D(4, 3)", IMAGE, [0, 2, 3, 1]),
    "Conv2DTranspose": ("Conv2DTranspose(4, 3)", 'ConvTranspose2D(4, 3, padding: "valid")', IMAGE, [0, 2, 3, 1]),
    "BatchNormalization": ("BatchNormalization()", "BatchNorm(eps: 1e-3)", IMAGE, [0, 2, 3, 1]),
    "LayerNormalization": ("LayerNormalization()", "LayerNorm(eps: 1e-3)", SEQUENCE, None),
}


@needs_keras
@pytest.mark.parametrize("label", FROM_KERAS)
def test_a_layer_of_keras_loads(label: str, tmp_path: Path) -> None:
    their, layer, declared, axes = FROM_KERAS[label]
    with np.errstate(all="ignore"):
        module = keras()
    x = random_input(declared).astype(np.float32)
    theirs = np.transpose(x, axes) if axes else x
    built = eval(f"keras.layers.{their}", {"keras": module})  # the text is this file's
    network = module.Sequential([module.Input(theirs.shape[1:]), built])
    chance = np.random.default_rng(1)
    for weight in network.weights:
        weight.assign(chance.uniform(0.1, 0.9, weight.shape) - (0 if "variance" in weight.path else 0.5))
    file = tmp_path / "weights.npz"
    np.savez(file, **{weight.path: weight.numpy() for weight in network.weights})
    name = network.weights[0].path.partition(built.name)[0] + built.name  # within the name of the network
    model = nablac.compile(f"model M {{ input x: {declared}; net = {layer}; output y = net(x) }}\n")
    model.load(file, f"{name}/* -> net.* by keras")
    expected = module.ops.convert_to_numpy(network(theirs))
    expected = np.transpose(expected, np.argsort(axes)) if axes else expected
    np.testing.assert_allclose(model(x=x)["y"], expected, rtol=1e-5, atol=1e-5)


@needs_keras
def test_a_network_of_keras_loads_by_the_names_of_its_layers(tmp_path: Path) -> None:
    module = keras()
    network = module.Sequential(
        [
            module.Input((6, 3)),
            module.layers.LSTM(4, return_sequences=True, name="encoder"),
            module.layers.Dropout(0.5),
            module.layers.GRU(5, name="decoder"),
            module.layers.Dense(2, name="head"),
        ]
    )
    file = tmp_path / "weights.npz"
    np.savez(file, **{weight.path: weight.numpy() for weight in network.weights})
    text = """
model M {
    input x: [batch, T, 3]
    encoder = LSTM(4, sequences: true)
    decoder = GRU(5)
    head = Dense(2)
    output y = x -> encoder -> decoder -> head
}
"""
    model = nablac.compile(text).load(file, "keras")
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    expected = module.ops.convert_to_numpy(network(x))
    np.testing.assert_allclose(model(x=x)["y"], expected, rtol=1e-5, atol=1e-5)


FLATTENED = """
model M {
    input x: [batch, 3, 5, 4]
    conv = Conv2D(4, 3, padding: "valid")
    dense = Dense(6)
    output y = x -> conv -> relu -> Flatten() -> dense
}
"""


@needs_keras
@pytest.mark.parametrize(("images", "agrees"), [(" images: [3, 2, 4]", True), ("", False)], ids=["rule", "no rule"])
def test_a_dense_layer_after_flattened_images_of_keras_needs_their_shape(
    images: str, agrees: bool, tmp_path: Path
) -> None:
    module = keras()
    layers = module.layers
    network = module.Sequential(
        [
            module.Input((5, 4, 3)),
            layers.Conv2D(4, 3, name="conv", activation="relu"),
            layers.Flatten(),
            layers.Dense(6, name="dense"),
        ]
    )
    file = tmp_path / "weights.npz"
    np.savez(file, **{weight.path: weight.numpy() for weight in network.weights})
    (tmp_path / "own.rules").write_text(f"/(?:.*\\/)?dense\\/kernel/ -> dense.W{images}\n")
    model = nablac.compile(FLATTENED).load(file, [str(tmp_path / "own.rules"), "keras"])
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    expected = module.ops.convert_to_numpy(network(np.transpose(x, (0, 2, 3, 1))))
    assert np.allclose(model(x=x)["y"], expected, rtol=1e-5, atol=1e-5) == agrees


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", **{"dense/kernel": np.zeros((24, 6), np.float32)})
    with pytest.raises(NablacError) as raised:
        nablac.compile(FLATTENED).load(tmp_path / "weights.npz", "dense/kernel -> dense.W images: [3, 3, 4]")
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.code == "E706"
    assert diagnostic.message == ("`dense/kernel`, [24, 6], has no row for each of the 36 numbers of images [3, 3, 4]")

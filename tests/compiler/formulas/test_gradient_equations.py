"""The gradient as text: with the equations of textbooks, and with PyTorch's gradients when it is evaluated."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from compiler.formulas.gradient_equations import gradient_equations  # noqa: E402
from compiler.formulas.plain_text import text_of  # noqa: E402
from compiler.types import DType  # noqa: E402
from tests.compiler.formulas.evaluation import evaluate  # noqa: E402
from tests.compiler.formulas.networks import NETWORKS, Network  # noqa: E402
from tests.models import spec_of  # noqa: E402


def text_of_gradient(text: str) -> str:
    return text_of(gradient_equations(spec_of(text, training=True, dtype=DType.F64)))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_text_has_the_equations_of_the_textbook(name: str) -> None:
    printed = dict(map(sides, filter(None, text_of_gradient(NETWORKS[name].text).splitlines())))
    for line in NETWORKS[name].printed:
        target, terms = sides(line)
        assert printed[target] == terms


def sides(line: str) -> tuple[str, list[str]]:
    """The left side of an equation, and the terms of its right side, whose order does not matter."""
    target, _, value = line.strip().partition(" = ")
    return target, sorted(value.split(" + "))


def values_of(network: Network) -> dict[str, object]:
    generator = torch.Generator().manual_seed(7)
    values: dict[str, object] = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for name, shape in network.shapes.items()
    }
    if network.classes:
        values["label"] = torch.randint(network.classes, (network.sizes["batch"],), generator=generator)
    return values


@pytest.mark.parametrize("name", NETWORKS)
def test_the_text_evaluates_to_the_gradients_of_pytorch(name: str) -> None:
    network = NETWORKS[name]
    values = values_of(network)
    loss = network.forward(values)
    names = [name for name in network.shapes if name not in ("goal", "target")]
    expected = torch.autograd.grad(loss, [values[name] for name in names])
    known = {name: value.detach() for name, value in values.items()}
    known |= {name: torch.zeros(5, 4, dtype=torch.float64) for name in network.first}
    computed = evaluate(text_of_gradient(network.text), known, network.sizes)
    for name, gradient in zip(names, expected, strict=True):
        path, dot, last = name.rpartition(".")
        torch.testing.assert_close(computed[f"{path}{dot}d{last}"], gradient, rtol=1e-10, atol=1e-13)

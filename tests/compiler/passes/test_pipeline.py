"""Every pass keeps graphs well formed, and one run of it is enough: the library's models, training steps, presets."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.elaborate.program import load
from compiler.graph_checks import verify
from compiler.operators.leaves import Buffer, Parameter
from compiler.passes.pipeline import Stage, optimize, passes_of
from compiler.training.losses import loss_graph
from compiler.training.step import training_step
from grammar.syntax import Preset
from tests.models import elaborate, spec_of
from tests.paths import SPECS

MODELS = [
    pytest.param(path, defined.name, id=defined.name)
    for path in sorted(SPECS.glob("*.model"))
    for defined in load(path).models
]
PRESETS = [
    pytest.param(path, statement.name.text, id=f"{path.stem}-{statement.name.text}")
    for path in sorted(SPECS.glob("*.model"))
    for defined in load(path).models
    for statement in defined.syntax.body
    if isinstance(statement, Preset)
]
# Of the published networks: torchvision's documentation, and the papers' and Hugging Face's model cards.
PUBLISHED = {
    "resnet-resnet18": 11_689_512,
    "resnet-resnet34": 21_797_672,
    "resnet-resnet50": 25_557_032,
    "resnet-resnet101": 44_549_160,
    "gpt-gpt2": 124_439_808,
    "gpt-gpt2_medium": 354_823_168,
    "gpt-gpt2_large": 774_030_080,
    "llama-llama2_7b": 6_738_415_616,
    "llama-llama3_8b": 8_030_261_248,
    "llama-llama3_1_8b": 8_030_261_248,
    "llama-llama3_2_1b": 1_235_814_400,
    "llama-llama3_2_3b": 3_212_749_824,
    "llama-tinyllama": 1_100_048_384,
    "t5-small": 60_506_624,
    "t5-base": 222_903_552,
    "t5-large": 737_668_096,
    "t5-flan_small": 76_961_152,
    "t5-flan_base": 247_577_856,
    "t5-flan_large": 783_150_080,
}


@pytest.mark.parametrize(("path", "name"), MODELS)
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_every_pass_keeps_a_graph_well_formed(path: Path, name: str, training: bool) -> None:
    elaborated = spec_of(load(path), model=name, training=training)
    if elaborated.training is None:
        graph = elaborated.graph
    else:
        graph = training_step(elaborated).graph if training else loss_graph(elaborated)
    verify(graph)
    for each in passes_of(*Stage):
        changed = each.run(graph)
        verify(changed)
        assert each.run(changed) is changed, f"{each.name} changes its own result"
        assert {name: value.type for name, value in changed.outputs.items()} == {
            name: value.type for name, value in graph.outputs.items()
        }
        assert list(changed.updates) == list(graph.updates)
        graph = changed


@pytest.mark.parametrize(("path", "preset"), PRESETS)
def test_a_preset_has_the_published_size(path: Path, preset: str) -> None:
    program = load(path)
    graph = optimize(elaborate(program, model=program.models[0].name, preset=preset))
    verify(graph)
    stored = {node.op.path: node.op for node in graph if isinstance(node.op, Parameter)}
    assert not any(isinstance(op, Buffer) for op in stored.values())
    wanted = PUBLISHED.get(f"{path.stem}-{preset}")
    if wanted is not None:
        assert sum(int(str(op.type.elements)) for op in stored.values()) == wanted

"""Hints for unknown names: names of other frameworks, similar spellings, and no names with another meaning."""

from __future__ import annotations

import pytest

from compiler.elaborate.builtins.draws import RANDOM
from compiler.elaborate.data import STAGES
from compiler.elaborate.frameworks import ARGUMENTS, OUR_NAMES, WRITTEN_HERE, argument_hint, name_hint
from compiler.elaborate.program import _Names
from compiler.elaborate.values import Defined, Primitive
from grammar.diagnostics import did_you_mean, did_you_mean_file

SCOPE = _Names()
KNOWN = sorted(SCOPE.known())

RENAMED = {
    "xavier_uniform": "glorot_uniform",
    "kaiming_uniform": "he_uniform",
    "swish": "silu",
    "sparse_categorical_crossentropy": "cross_entropy",
    "cat": "concat",
    "inf": "infinity",
    "ndim": "rank",
    "int64": "i64",
    "TransformerEncoderLayer": "EncoderLayer",
    "permute": "transpose",
    "view": "reshape",
    "bmm": "matmul",
    "reduce_mean": "mean",
    "mean_squared_error": "mse",
    "expand_dims": "unsqueeze",
    "broadcast_to": "expand",
}
MISSPELT = {
    "Relu": "relu",
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "GELU": "gelu",
    "AdamW": "adamw",
    "SGD": "sgd",
    "Conv2d": "Conv2D",
    "binary_crossentropy": "binary_cross_entropy",
    "rleu": "relu",
    "Dence": "Dense",
    "softmx": "softmax",
}
EXPLAINED = [
    "std",
    "var",
    "tril",
    "sort",
    "outer",
    "Residual",
    "Sequential",
    "Lambda",
    "Input",
    "nll_loss",
    "norm",
    "numel",
]


@pytest.mark.parametrize("name", RENAMED)
def test_a_name_of_another_framework_is_translated(name: str) -> None:
    assert name_hint(name, KNOWN) == f"nablac calls it `{RENAMED[name]}`"


@pytest.mark.parametrize("name", MISSPELT)
def test_a_misspelt_name_gets_a_suggestion(name: str) -> None:
    assert name_hint(name, KNOWN) == f"did you mean `{MISSPELT[name]}`?"


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_missing_function_is_explained(name: str) -> None:
    hint = name_hint(name, KNOWN)
    assert hint is not None and "`" in hint and "did you mean" not in hint


@pytest.mark.parametrize("name", ["std", "dim", "ndim", "outer", "Residual", "Lambda"])
def test_a_name_with_another_meaning_is_not_suggested(name: str) -> None:
    assert did_you_mean(name, KNOWN) is None


def test_names_of_other_frameworks_lead_to_existing_names() -> None:
    assert set(OUR_NAMES.values()) - set(KNOWN) == {f"random.{name}" for name in ("uniform", "normal")}
    assert set(RANDOM.members) >= {"uniform", "normal"}
    assert not {*OUR_NAMES, *WRITTEN_HERE} & set(KNOWN)
    assert not set(OUR_NAMES) & set(WRITTEN_HERE)


def test_arguments_of_other_frameworks_lead_to_existing_arguments() -> None:
    accepted = {"axis"} | {name for stage in STAGES.values() for name in stage.parameters}
    for name in KNOWN:
        match SCOPE.find(name):
            case Defined(syntax=definition):
                accepted |= {hyper.name.text for hyper in definition.hypers}
            case Primitive(operator=operator):
                accepted |= set(operator.fields)
    assert {name for ours in ARGUMENTS.values() for name in ours} <= accepted


@pytest.mark.parametrize(
    ("name", "accepted", "hint"),
    [
        ("dim", ["x", "axis", "keep"], "nablac calls it `axis`"),
        ("keepdim", ["x", "axis", "keep"], "nablac calls it `keep`"),
        ("kernel_size", ["filters", "kernel"], "nablac calls it `kernel`"),
        ("kernel_size", ["window", "stride"], "nablac calls it `window`"),
        ("in_channels", ["filters", "kernel"], "it is read from the shape of the input"),
        ("activaton", ["units", "activation"], "did you mean `activation`?"),
        ("future_covariates", ["length", "known"], "nablac calls it `known`"),
        ("colour", ["units", "activation"], "it takes units, activation"),
    ],
)
def test_an_argument_of_another_framework_is_translated(name: str, accepted: list[str], hint: str) -> None:
    assert argument_hint(name, accepted) == hint


@pytest.mark.parametrize(
    ("path", "others", "hint"),
    [
        ("nothere.model", ["true.model", "nb.model"], None),
        ("nets/forcaster.model", ["nets/forecaster.model", "nets/lstm.model"], "did you mean `nets/forecaster.model`?"),
        ("lstm.txt", ["lstm.model", "gru.txt"], "did you mean `lstm.model`?"),
        ("lstm.model", ["lstm.model"], None),
        ("lstn.npy", ["lstm.model", "lstm.npy"], "did you mean `lstm.npy`?"),
    ],
)
def test_files_are_compared_by_name_without_suffix(path: str, others: list[str], hint: str | None) -> None:
    assert did_you_mean_file(path, others) == hint

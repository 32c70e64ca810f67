"""What every command prints with `--json` has the type that the page of JSON outputs is made from."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, is_typeddict

import numpy as np
import pytest

from grammar.diagnostics import ErrorsJson
from nablac.commands import COMMANDS
from nablac.commands.output import TextJson
from tests import json_page
from tests.command_line import invoke
from tests.nablac import tuned

LABELS = """
model Labels { input x: [batch, 2]; output y = x -> Dense(3) }
train Labels {
    target wanted: [batch, 3]; loss binary_cross_entropy(y, wanted); epochs 1
    data npz("labels.npz")
}
"""
SERIES = """
model Series { input x: [batch, T, 1]; output y = x -> GRU(4) -> Dense(2) -> unsqueeze(-1) }
train Series {
    target next: [batch, 2, 1]; loss mse(y, next); epochs 1; validation 0.3
    data csv("series.csv") -> by("station") -> standardize(["load"]) -> window(["load"], length: 6, horizon: 2)
}
"""
ATTENTIVE = """
model Attentive {
    input tokens: i64[batch, T]
    x = tokens -> Embedding(40, 8)
    attention = MultiHeadAttention(2, causal: true)
    output logits = x + attention(x) -> Dense(40)
}
train Attentive {
    target next: i64[batch, T]; loss cross_entropy(logits, next); epochs 1
    data text("letters.txt") -> tokens(length: 8, kind: "characters", most: 40)
}
"""
CASES = [  # command lines by command and form, in order: each may use what those before have written
    ("init", "", "init images"),
    ("init", "", "init text"),
    ("init", "", "init forecast"),
    ("init", "", "init table.csv"),
    ("train", "--dry-run", "train images.model --dry-run"),
    ("train", "", "train images.model --epochs 1 -o images"),
    ("train", "", "train text.model --epochs 1 --limit-batches 2 -o text"),
    ("train", "", "train forecast.model --epochs 1 -o forecast"),
    ("train", "", "train forecast.model --epochs 2 -o second"),
    ("train", "", "train labels.model -o labels"),
    ("train", "", "train series.model -o stations"),
    ("train", "", "train attentive.model -o attentive"),
    ("check", "", "check wrong.model images.model unread.model"),
    ("check", "", "check labels.model --gradients"),
    ("fmt", "", "fmt --check wrong.model unread.model"),
    ("compile", "", "compile forecast -o forecast.onnx"),
    ("compile", "", "compile tan.model --target ort-cuda -o tan.onnx"),
    ("compile", "--quantize", "compile images --quantize int8 --no-verify -o integers.onnx"),
    ("compile", "--dtype", "compile images --dtype f16 --no-verify -o half.onnx"),
    ("compile", "--train", "compile --train labels.model -o step.onnx"),
    ("compile", "--train --split", "compile --train --split labels.model -o split"),
    ("compile", "--decode", "compile --decode text -o decode"),
    ("run", "", "run forecast data/airline-passengers.csv:passengers[-12:]"),
    ("run", "-o FILE", "run forecast data/airline-passengers.csv:passengers[-12:] -o y.npy"),
    ("predict", "", "predict forecast data/airline-passengers.csv"),
    ("predict", "", "predict images data/digits.npz"),
    ("predict", "-o FILE", "predict forecast data/airline-passengers.csv -o y.csv"),
    ("tune", "", "tune net.model --search random --trials 2 --epochs 1 -o study"),
    ("eval", "", "eval forecast --backtest"),
    ("eval", "", "eval stations --backtest"),
    ("eval", "", "eval images"),
    ("eval", "", "eval labels"),
    ("eval", "", "eval text"),
    ("compare", "", "compare forecast second"),
    ("generate", "", "generate text The --tokens 3"),
    ("generate", "", "generate text --input empty.txt --tokens 3"),
    ("grad", "", "grad labels.model -o gradient.onnx"),
    ("grad", "--text, --latex", "grad labels.model --text"),
    ("grad", "--text -o FILE, --latex -o FILE", "grad labels.model --latex -o gradient.tex"),
    ("summary", "", "summary forecast"),
    ("draw", "", "draw labels.model"),
    ("draw", "-o FILE", "draw labels.model -o labels.svg"),
    ("draw", "-o FILE.txt, --latex -o FILE", "draw labels.model --latex -o labels.tex"),
    ("draw", "-o FILE.txt, --latex -o FILE", "draw labels.model -o labels.txt"),
    ("draw", "--latex", "draw labels.model --latex"),
    ("draw", "--attention TEXT", "draw attentive --attention abcd -o attention.svg"),
    ("profile", "", "profile labels.model --runs 2"),
    ("bench", "", "bench labels.model --rounds 1 --backend numpy --threads 1 --form 'as compiled'"),
    ("plan", "", "plan labels.model"),
    ("verify", "", "verify labels.model"),
    ("explain", "CODE", "explain E303"),
    ("explain", "", "explain"),
    ("doctor", "", "doctor"),
    ("completion", "", "completion bash"),
]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Any, Any]]:
    """Each command line with the type of its output and what it printed."""
    pytest.importorskip("optuna", reason="nablac tune needs the extra `tune`")
    folder = tmp_path_factory.mktemp("json")
    rows = [
        f"{station},{hour},{(hour % 7) + chance:.2f}\n"
        for station in "ab"
        for hour in range(60)
        for chance in [hour / 90]
    ]
    (folder / "series.csv").write_text("station,hour,load\n" + "".join(rows))
    (folder / "table.csv").write_text(
        "id,size,name,price\n" + "".join(f"{n},{n / 7:.2f},n{n},{n * 2}\n" for n in range(40))
    )
    (folder / "wrong.model").write_text("model Wrong { input x: [batch, 3]; output y = x + zeros([4]) }\n")
    (folder / "unread.model").write_text("model Unread { input x: [batch, 3]; h = x -> Dense(2); output y = x }\n")
    (folder / "tan.model").write_text("model Tan { input x: [batch, 3]; output y = tan(x) }\n")
    (folder / "letters.txt").write_text("abcdef ghij " * 40)
    (folder / "attentive.model").write_text(ATTENTIVE)
    (folder / "labels.model").write_text(LABELS)
    (folder / "series.model").write_text(SERIES)
    (folder / "empty.txt").write_text("\nThe\n")
    tuned.write_model(folder)
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 2)).astype(np.float32)
    np.savez(folder / "labels.npz", x=x, wanted=(random.normal(size=(40, 3)) > 0).astype(np.float32))
    outputs = []
    for command, form, line in CASES:
        done = invoke(*shlex.split(line), "--json", folder=folder)
        assert done.stdout.startswith(("{", "[")), f"{line}\n{done.output}"
        outputs.append((line, json_page.OUTPUTS[command][form], json.loads(done.stdout)))
    return outputs


def test_every_command_and_form_is_tried() -> None:
    forms = {(command, form) for command, types in json_page.OUTPUTS.items() for form in types}
    assert {(command, form) for command, form, _ in CASES} == forms
    assert list(json_page.OUTPUTS) and set(json_page.OUTPUTS) == set(COMMANDS)


NOT_TRIED = {  # of images in folders, of rows of a table, of a comparison that fails
    *("MistakeJson.line", "MistakeJson.file"),
    *(f"DivergenceJson.{name}" for name in ("operator", "location", "type", "error")),
}


def keys(value: Any, kind: Any) -> set[str]:
    """The keys of each type that occur in a value."""
    if is_typeddict(kind) and isinstance(value, dict):
        fields = json_page.fields(kind)
        inner = [keys(item, fields[name][0]) for name, item in value.items() if name in fields]
        return {f"{kind.__name__}.{name}" for name in value}.union(*inner)
    if get_origin(kind) in (Union, UnionType):
        return keys(value, next(part for part in get_args(kind) if not json_page.mistakes(value, part)))
    if get_origin(kind) not in (list, dict):
        return set()
    items = value.values() if isinstance(value, dict) else value
    return set[str]().union(*(keys(item, get_args(kind)[-1]) for item in items))


def test_every_key_occurs(printed: list[tuple[str, Any, Any]]) -> None:
    seen = set().union(*(keys(value, kind) for _, kind, value in printed))
    types = {
        record for forms in json_page.OUTPUTS.values() for kind in forms.values() for record in json_page.records(kind)
    }
    assert {f"{record.__name__}.{name}" for record in types for name in json_page.fields(record)} - seen == NOT_TRIED


def test_an_error_has_the_type_of_errors(tmp_path: Path) -> None:
    done = invoke("run", "no.model", "--json", folder=tmp_path)
    assert done.exit_code == 2
    assert not json_page.mistakes(json.loads(done.stdout), ErrorsJson)


@pytest.mark.parametrize(
    ("value", "kind", "mistake"),
    [
        ({"text": 1}, TextJson, ".text is 1, not str"),
        ({}, TextJson, ".text is missing"),
        ({"text": "a", "more": 1}, TextJson, ".more is not in TextJson"),
        ({"a": [True]}, dict[str, list[int]], ".a[0] is True, not int"),
        ({"a": "NaN"}, dict[str, int | None], ".a is 'NaN', not int"),
    ],
)
def test_another_value_is_a_mistake(value: Any, kind: Any, mistake: str) -> None:
    assert json_page.mistakes(value, kind) == [mistake]


def test_the_page_is_what_the_types_say() -> None:
    assert json_page.PAGE.read_text(encoding="utf-8") == json_page.page(), "python -m tests.json_page"


def test_outputs_have_their_types(printed: list[tuple[str, Any, Any]]) -> None:
    wrong = {line: wrong for line, kind, value in printed if (wrong := json_page.mistakes(value, kind))}
    assert not wrong

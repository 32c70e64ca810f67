"""Writes `docs/json.md` from the types of what commands print: `python -m tests.json_page`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from grammar import diagnostics
from nablac import model_summary, run_comparison, worker_plan
from nablac.commands import (
    bench,
    bench_table,
    check,
    completion,
    decode_step,
    doctor,
    draw,
    eval,
    explain,
    fmt,
    generate,
    grad,
    init,
    model_export,
    output,
    predict,
    run,
    split_step,
    study_report,
    target_report,
    training_result,
    training_step,
    verify,
)
from runtime.evaluation import (
    backtest_json,
    class_figures,
    class_results,
    evaluation,
    number_figures,
    number_results,
    token_results,
)
from runtime.profiling import grouping, profile_text, timing
from runtime.search import trial_results
from tests.paths import ROOT

PAGE = ROOT / "docs" / "json.md"
Cell = bool | int | float | str | None
Nested = list[Any]  # numbers in lists of lists, one level an axis
OUTPUTS: dict[str, dict[str, Any]] = {  # by command: what `--json` prints, by the options that choose it
    "init": {"": init.InitJson},
    "check": {"": check.CheckJson},
    "fmt": {"": fmt.FormatJson},
    "compile": {
        "": model_export.CompileJson,
        "--quantize": model_export.QuantizedFileJson,
        "--dtype": model_export.ConvertedFileJson,
        "--train": training_step.TrainingStepJson,
        "--train --split": split_step.SplitStepJson,
        "--decode": decode_step.DecodeStepJson,
    },
    "run": {"": dict[str, Nested], "-o FILE": run.RunFileJson},
    "predict": {"": list[dict[str, Cell]], "-o FILE": predict.PredictFileJson},
    "train": {"": training_result.TrainJson, "--dry-run": dict[str, float]},
    "tune": {"": study_report.TuneJson},
    "eval": {"": eval.EvalJson},
    "compare": {"": run_comparison.ComparisonJson},
    "generate": {"": list[generate.AnswerJson]},
    "grad": {
        "": grad.GradientFileJson,
        "--text, --latex": output.TextJson,
        "--text -o FILE, --latex -o FILE": output.FileJson,
    },
    "summary": {"": model_summary.SummaryJson},
    "draw": {
        "": draw.PrintedPictureJson,
        "-o FILE": draw.PictureJson,
        "-o FILE.txt, --latex -o FILE": draw.TextFileJson,
        "--latex": output.TextJson,
        "--attention TEXT": draw.AttentionJson,
    },
    "profile": {"": profile_text.ProfileJson},
    "bench": {"": bench_table.BenchJson},
    "plan": {"": worker_plan.PlanJson},
    "verify": {"": verify.VerifyJson},
    "explain": {"CODE": explain.ExplainJson, "": dict[str, str]},
    "doctor": {"": doctor.DoctorJson},
    "completion": {"": completion.CompletionJson},
}
ABOUT = {  # of outputs that have no type of their own
    ("run", ""): "The outputs by name, as numbers in lists, one level for each axis.",
    ("predict", ""): "A row for each prediction: its columns by name, with the types of the data.",
    ("train", "--dry-run"): "The loss and the metrics of one step, by name.",
    ("explain", ""): "The heading of every code.",
}
OTHERS = {"EvalJson": float}  # the values under keys that a type does not name
_MODULES = (
    *(
        diagnostics,
        model_summary,
        run_comparison,
        worker_plan,
        bench,
        bench_table,
        check,
        model_export,
        completion,
        decode_step,
        doctor,
    ),
    *(draw, eval, explain, fmt, generate, grad, init, output, predict, run, split_step, target_report, training_result),
    *(training_step, study_report, verify, backtest_json, class_figures, class_results, evaluation, number_figures),
    *(number_results, token_results, grouping, profile_text, timing, trial_results),
)
_NAMES = {  # of types that a module imports for type checkers alone
    name: value
    for module in _MODULES
    for name, value in vars(module).items()
    if is_typeddict(value) or name == "ResultJson"
}
_SCALARS = {bool: "true or false", int: "whole number", float: "number", str: "text", NoneType: "null"}
HEAD = """\
# JSON outputs

With `--json` every command prints one JSON value on standard output; notes and progress go to standard error.
`python -m tests.json_page` writes this page from the types that the code builds these values by; a test compares them.

- The value is printed when the command ends; `predict` prints its rows as they are computed. There is no stream of
  events: to follow a run, read its `history.json`, which is written after each epoch, or its TensorBoard events.
- A command that ends with an error prints [Errors](#errors) instead, and its exit status says the kind: 1 for errors in
  a model, 2 for data, 70 for an internal error. Wrong usage, such as an unknown option, is a text on standard error,
  with status 2.
- NaN and the infinities, which JSON lacks, are the texts `"NaN"`, `"Infinity"` and `"-Infinity"` in place of numbers;
  in rows of `predict` they are null.
- Times are in seconds, memory in bytes. Files are named as in the command. Texts are not shortened.
- A key with `?` is left out where it does not apply. Later versions may add keys: do not refuse unknown ones.

Files that a run leaves, such as `run.json`, are in [files.md](files.md).
"""


def fields(record: type) -> dict[str, tuple[Any, str, bool]]:
    """The fields of a type: each with its type, what it is, and whether it is always there."""
    hints = get_type_hints(record, localns=_NAMES, include_extras=True)
    result = {}
    for name, hint in hints.items():
        needed = get_origin(hint) is not NotRequired and record.__total__  # type: ignore[attr-defined]
        inner = get_args(hint)[0] if get_origin(hint) is NotRequired else hint
        kind, about = get_args(inner)[:2] if get_origin(inner) is Annotated else (inner, "")
        result[name] = (kind, about, needed)
    return result


def title(record: type) -> str:
    """The heading of a type: its name in words."""
    words = record.__name__.removesuffix("Json")
    return "".join(f" {letter.lower()}" if letter.isupper() and index else letter for index, letter in enumerate(words))


def shown(kind: Any) -> str:
    """A type in words, with links to the types of the page."""
    if is_typeddict(kind):
        return f"[{title(kind)}](#{title(kind).lower().replace(' ', '-')})"
    if kind == Cell:
        return "cells"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(shown, get_args(kind)))
    if get_origin(kind) is Literal:
        return "text"
    if kind is Any:
        return "number or list"
    if get_origin(kind) is list:
        return f"list of {shown(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return f"object of {shown(get_args(kind)[1])}"
    return _SCALARS[kind]


def records(kind: Any) -> Iterator[type]:
    """The types of objects in a type, outer ones first."""
    if is_typeddict(kind):
        yield kind
        for inner, _, _ in fields(kind).values():
            yield from records(inner)
    for part in get_args(kind):
        yield from records(part)


def mistakes(value: Any, kind: Any, path: str = "") -> list[str]:
    """Where a JSON value differs from a type; empty if it has it."""
    if is_typeddict(kind):
        if not isinstance(value, dict):
            return [f"{path} is no object"]
        known = fields(kind)
        others = OTHERS.get(kind.__name__)
        wrong = [f"{path}.{name} is missing" for name, (_, _, needed) in known.items() if needed and name not in value]
        for name, item in value.items():
            if name in known:
                wrong += mistakes(item, known[name][0], f"{path}.{name}")
            elif others is not None:
                wrong += mistakes(item, others, f"{path}.{name}")
            else:
                wrong.append(f"{path}.{name} is not in {kind.__name__}")
        return wrong
    if get_origin(kind) in (Union, UnionType):
        tried = [mistakes(value, part, path) for part in get_args(kind)]
        return min(tried, key=len)
    if get_origin(kind) is Literal:
        return [] if value in get_args(kind) else [f"{path} is {value!r}"]
    if get_origin(kind) is list:
        if not isinstance(value, list):
            return [f"{path} is no list"]
        return [
            line for index, item in enumerate(value) for line in mistakes(item, get_args(kind)[0], f"{path}[{index}]")
        ]
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            return [f"{path} is no object"]
        return [line for name, item in value.items() for line in mistakes(item, get_args(kind)[1], f"{path}.{name}")]
    if kind is Any:
        return []
    right = type(value) is kind
    if kind is float:
        right = type(value) in (int, float) or value in ("NaN", "Infinity", "-Infinity")
    return [] if right else [f"{path} is {value!r}, not {kind.__name__}"]


def _table(record: type) -> str:
    rows = [
        f"| `{name}`{'' if needed else ' ?'} | {shown(kind)} | {about} |".replace("|  |", "| |")
        for name, (kind, about, needed) in fields(record).items()
    ]
    about = " ".join((inspect.getdoc(record) or "").split()) if record.__doc__ else ""
    if record.__name__ == "DoctorJson":
        about = "What is installed."
    return f"{about}\n\n| key | type | |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def page() -> str:
    """The whole page."""
    parts, titles = [HEAD], dict[str, type]()

    def add(kinds: Iterable[Any]) -> None:
        for record in (record for kind in kinds for record in records(kind)):
            if titles.setdefault(title(record), record) is not record:
                raise ValueError(f"two types are called {title(record)}")
            if record not in printed:
                printed.add(record)
                parts.append(f"### {title(record)}\n\n{_table(record)}")

    printed: set[type] = set()
    add([diagnostics.ErrorsJson])
    for command, forms in OUTPUTS.items():
        parts.append(f"## nablac {command}\n")
        rows = [f"| {_call(command, options)} | {_what(command, options, kind)} |" for options, kind in forms.items()]
        parts.append("\n".join(["| | prints |", "|---|---|", *rows, ""]))
        add(forms.values())
    return "\n".join(parts)


def _call(command: str, options: str) -> str:
    forms = [form.strip() for form in options.split(",")]
    return " or ".join(f"`{' '.join(filter(None, ('nablac', command, form, '--json')))}`" for form in forms)


def _what(command: str, options: str, kind: Any) -> str:
    return f"{shown(kind)}. {ABOUT.get((command, options), '')}".strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""From a text or a module to an ONNX file: `nablac compile` and `torch.onnx.export(dynamo=True)`, each a process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Figure
from benchmarks.processes import Usage, run_in_turns
from benchmarks.results import Row
from benchmarks.tables import Settings

NOTE = """Processor time and peak memory of the whole process, with random weights on both sides, and without the
comparison with another runtime that `nablac compile` does by default and torch.onnx does not."""
OURS = {
    "ResNet-50": ("specs/resnet.model", "--preset", "resnet50"),
    "GPT-2": ("specs/gpt.model", "--preset", "gpt2"),
    "BERT": ("specs/bert.model", "--preset", "base", "--set", "pooler=false"),
    "48 layers": ("specs/gpt.model", "--set", "depth=48"),
}


def rows(settings: Settings) -> Iterator[Row]:
    for case in settings.chosen(list(OURS)):
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = Path(folder) / "ours.onnx", Path(folder) / "theirs.onnx"
            commands = {
                "nablac compile": ["-m", "nablac", "compile", *OURS[case], "--no-verify", "-q", "-o", str(ours)],
                "torch.onnx": ["-m", "benchmarks.torch_export", case, str(theirs)],
            }
            usages = run_in_turns(commands, 1 if settings.quick else 3, first=False)
        yield _row(
            case,
            "s, processor time",
            usages,
            {name: each.processor_time() for name, each in usages.items() if each.seconds},
        )
        yield _row(
            case, "MiB at the peak", usages, {name: each.peak() for name, each in usages.items() if each.seconds}
        )


def _row(case: str, measure: str, usages: dict[str, Usage], figures: dict[str, Figure]) -> Row:
    return Row("export", case, measure, figures, {name: each.failure for name, each in usages.items() if each.failure})

"""Damaged `.model` texts: `check` soon raises diagnostics and nothing else, and they can be rendered."""

from __future__ import annotations

import json
import math
import os
import random
import time
from pathlib import Path

import pytest

from compiler.elaborate import checking
from compiler.elaborate.program import program_of
from grammar.diagnostics import NablacError
from grammar.parser import parse
from grammar.source import Source
from tests.hostile.mutations import damaged_text
from tests.test_diagnostics import PAGES, blocks
from tests.work import at_most

ROOT = Path(__file__).parents[2]
FEW, MANY = 150, int(os.environ.get("NABLAC_TEXTS", "50000"))
SECONDS = 10  # of processor time, for one text of the campaign
EXAMPLES = [
    *(
        (ROOT / "specs" / f"{name}.model").read_text("utf-8")
        for name in ("rnn", "lstm", "gru", "mlp", "cnn", "forecaster")
    ),
    *(path.read_text("utf-8") for path in sorted((ROOT / "specs" / "std").glob("*.model"))),
    *(text for path in PAGES for text in blocks(path, "model") if len(text) < 2000),
]


def test_damaged_texts_get_diagnostics() -> None:
    assert not faults(range(FEW))


@pytest.mark.campaign
def test_many_damaged_texts_get_diagnostics() -> None:
    assert not faults(range(FEW, MANY), SECONDS)


def faults(seeds: range, most: float = math.inf) -> list[str]:
    """Errors other than diagnostics, and texts that took more than `most` seconds, each with its seed."""
    faults = []
    slowest = 0.0
    for seed in seeds:
        text = damaged(seed)
        started = time.process_time()
        try:
            examine(text)
        except Exception as error:
            faults.append(f"seed {seed}: {type(error).__name__}: {str(error)[:200]}")
        seconds = time.process_time() - started
        slowest = max(slowest, seconds)
        if seconds > most:
            faults.append(f"seed {seed}: {seconds:.1f} s")
    print(f"{len(seeds)} texts, the slowest {slowest:.1f} s")
    return faults


def damaged(seed: int) -> str:
    """The text of a seed."""
    chance = random.Random(f"text {seed}")
    return damaged_text(chance.choice(EXAMPLES), chance)


def examine(text: str) -> None:
    """Check a text, and render its diagnostics."""
    try:
        checking.check(program_of(Source("damaged.model", text)))
    except NablacError as error:
        shown = "\n".join(diagnostic.render() for diagnostic in error.diagnostics)
        assert "\x1b" not in shown and "\u202e" not in shown
        json.dumps([diagnostic.to_json() for diagnostic in error.diagnostics])


def test_an_incomplete_text_does_not_crash() -> None:
    """Every beginning of a text, as in an editor."""
    text = (ROOT / "specs" / "rnn.model").read_text("utf-8")
    for end in range(0, len(text), 7):
        try:
            parse(Source("begun.model", text[:end]))
        except NablacError as error:
            assert error.diagnostics


def test_an_error_in_every_iteration_of_a_long_loop_is_reported_once() -> None:
    text = "model M {\n input x: [batch]\n for i in 0..100000 {\n ers = numbers + [i]\n }\n output x\n}\n"
    with at_most(calls=6_000_000), pytest.raises(NablacError) as caught:
        checking.check(program_of(Source("loop.model", text)))
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E201"]

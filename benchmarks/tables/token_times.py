"""Greedy generation after a prompt of 16 tokens, with transformers' weights in all: time for a token."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.competition import compete
from benchmarks.language_models import SIZES
from benchmarks.preparation import prepare
from benchmarks.results import Row
from benchmarks.tables import Settings
from benchmarks.tables.rows import CLOCK, time_row

NOTE = """The prompt's time is included. All contenders have to produce the same tokens. transformers compiles the
forward pass for a static cache on a CPU only if it is told to, as here."""
NAMES = [
    "nablac ort, cache", "nablac numpy, cache", "nablac ort, no cache", "transformers",
    "transformers, static compiled cache",
]  # fmt: skip
TOKENS = (64, 256)


def rows(settings: Settings) -> Iterator[Row]:
    for case in settings.chosen(list(SIZES)[: 1 if settings.quick else None]):
        names = settings.competing(NAMES)
        with tempfile.TemporaryDirectory() as folder:
            prepare(case, "language", names, Path(folder))
            for threads in settings.threads:
                for tokens in TOKENS[: 1 if settings.quick or threads > 1 else None]:
                    known = [name for name in names if "no cache" not in name or tokens == TOKENS[0]]
                    outcomes = compete(case, f"generation {tokens}", known, threads, Path(folder), settings.plan)
                    measure = f"ms a token, {tokens} new tokens, {CLOCK[threads]}"
                    yield time_row("generation", case, measure, outcomes, 1000 / tokens)

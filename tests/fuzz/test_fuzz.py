"""Random programs: a few in every run of the tests, thousands in a campaign."""

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")

from tests.fuzz.checks import Checked  # noqa: E402 - torch may be missing
from tests.fuzz.statements import TEMPLATES, random_program  # noqa: E402

_MOST = int(os.environ.get("NABLAC_FUZZ_PROGRAMS", "20000"))
_GROUP = 100  # programs of one test of the campaign


def failures_of(seed: int, length: int | None = None, kinds: tuple[str, ...] = ()) -> list[str]:
    program = random_program(seed, length, kinds)
    return [
        f"seed {seed}, {failure.stage} at {failure.sizes}: {failure.what}\n{program.text}"
        for failure in Checked(program).check()
    ]


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_statement_of_each_kind_is_torchs(kind: str) -> None:
    assert failures_of(1, 1, (kind,)) == []


@pytest.mark.parametrize("seed", range(4))
def test_attention_with_rows_that_see_no_key_is_torchs(seed: int) -> None:
    assert failures_of(seed, 1, ("attention",)) == []


@pytest.mark.parametrize("seed", range(5, 13))
def test_programs_are_torchs(seed: int) -> None:
    assert failures_of(seed) == []


def test_a_wrong_value_is_found() -> None:
    program = random_program(0, 1, ("smooth",))
    right = program.statements[0].compute
    program.statements[0].compute = lambda env, sizes: right(env, sizes) * 1.001
    assert {failure.stage.split()[0] for failure in Checked(program).check()} >= {"value", "grad"}


@pytest.mark.campaign
@pytest.mark.parametrize("first", range(0, _MOST, _GROUP))
def test_a_campaign_of_programs_is_torchs(first: int) -> None:
    assert [what for seed in range(first, first + _GROUP) for what in failures_of(seed)] == []

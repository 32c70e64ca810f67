"""Every model that ships with a train block finds its data, and trains a step."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import invoke
from tests.paths import ROOT

OWN = {"resnet"}  # trains on a folder of one's own images
TRAINED = sorted(
    path for path in (ROOT / "specs").glob("*.model") if path.stem not in OWN and "\ntrain " in path.read_text("utf-8")
)


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_a_spec_trains_as_it_stands(path: Path) -> None:
    done = invoke("train", str(path), "--dry-run", "-q")
    if "nablac[data]" in done.stderr:
        pytest.skip("the extra `data` is not installed")
    assert done.exit_code == 0, done.output

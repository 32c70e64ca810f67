"""Event files are read as they were written, up to where they are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.training.event_reader import read_scalars
from runtime.training.events import EventWriter, record


def written(folder: Path) -> Path:
    with EventWriter(folder) as writer:
        for step in range(1, 4):
            writer.write_scalars(step, {"loss": step / 2, "seconds": step / 4})
    return writer.path


def test_values_come_back_by_step(tmp_path: Path) -> None:
    written(tmp_path)
    assert read_scalars(tmp_path, "seconds") == {1: 0.25, 2: 0.5, 3: 0.75}
    assert read_scalars(tmp_path, "second") == {}


def test_of_a_resumed_run_the_later_file_counts(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.rename(tmp_path / "events.out.tfevents.0000000001.host.1.nablac")
    with EventWriter(tmp_path) as writer:
        writer.write_scalars(3, {"loss": 9.0})
        writer.write_scalars(300, {"loss": 8.0})
    assert read_scalars(tmp_path, "loss") == {1: 0.5, 2: 1.0, 3: 9.0, 300: 8.0}


@pytest.mark.parametrize("cut", [1, 3, 20])
def test_a_file_counts_up_to_its_damaged_record(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    assert read_scalars(tmp_path, "loss") == {1: 0.5, 2: 1.0}
    path.write_bytes(content[:-cut] + bytes([content[-cut] ^ 1]) + content[len(content) - cut + 1 :])
    assert read_scalars(tmp_path, "loss") == {1: 0.5, 2: 1.0}


@given(st.binary(max_size=60))
def test_a_whole_record_may_be_no_event(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("events")
    (folder / "events.out.tfevents.1").write_bytes(record(content) + b"more")
    assert read_scalars(folder, "loss") == {}

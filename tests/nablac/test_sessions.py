"""What `run.json` says of a run's sessions, `--threads`, and the stages that `-v` prints."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.command_line import invoke

TRAIN = ("train", "forecaster", "-o", "run")


def facts(folder: Path) -> dict:
    return json.loads((folder / "run/run.json").read_text())


def test_each_session_of_a_run_is_recorded(tmp_path: Path) -> None:
    assert invoke(*TRAIN, "--epochs", "1", folder=tmp_path).exit_code == 0
    assert invoke("train", "--resume", "run", "--epochs", "2", folder=tmp_path).exit_code == 0
    first, second = facts(tmp_path)["facts"]["sessions"]
    assert first["command"] == "nablac train forecaster -o run --epochs 1"
    assert second["command"] == "nablac train --resume run --epochs 2"
    assert first["folder"] == str(tmp_path)
    assert first["versions"]["numpy"] == np.__version__
    assert first["versions"]["onnxruntime"] == onnxruntime.__version__
    assert first["machine"]["processors"] == len(os.sched_getaffinity(0)) and first["machine"]["processor"]
    times = [datetime.fromisoformat(session[name]) for session in (first, second) for name in ("started", "ended")]
    assert times == sorted(times) and times[0].tzinfo is not None


def test_a_session_that_is_killed_has_no_end(tmp_path: Path) -> None:
    assert invoke(*TRAIN, "--epochs", "1", folder=tmp_path).exit_code == 0
    record = facts(tmp_path)
    record["facts"]["sessions"][0]["ended"] = None  # as a killed run leaves it
    (tmp_path / "run/run.json").write_text(json.dumps(record))
    assert invoke("train", "--resume", "run", "--epochs", "2", folder=tmp_path).exit_code == 0
    first, second = facts(tmp_path)["facts"]["sessions"]
    assert first["ended"] is None and second["ended"] is not None


def test_the_threads_of_a_run_are_recorded_and_used_again(tmp_path: Path) -> None:
    assert invoke(*TRAIN, "--epochs", "1", "--threads", "2", folder=tmp_path).exit_code == 0
    record = facts(tmp_path)
    assert record["choices"]["threads"] == 2
    done = invoke("train", "--resume", "run", "--epochs", "2", folder=tmp_path)
    assert done.exit_code == 0, done.output
    refused = invoke("train", "--resume", "run", "--epochs", "3", "--threads", "1", folder=tmp_path)
    assert refused.exit_code == 2 and "was started with --threads 2, and with --threads 1" in refused.stderr


def test_threads_are_those_of_the_command_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    original = onnxruntime.InferenceSession

    def session(source: object, options: onnxruntime.SessionOptions, **others: object) -> object:
        counts.append(options.intra_op_num_threads)
        return original(source, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert invoke("init", "forecast", folder=tmp_path).exit_code == 0
    run = ("run", "forecast.model", "data/airline-passengers.csv:passengers[-12:]", "--backend", "ort")
    assert invoke(*run, "--threads", "2", folder=tmp_path).exit_code == 0
    assert invoke(*run, folder=tmp_path).exit_code == 0
    assert counts == [2, 0]  # 0 is onnxruntime's own choice
    assert invoke(*run, "--threads", "0", folder=tmp_path).exit_code == 2


STAGES = [
    (("train", "forecaster", "--epochs", "1", "-o", "run"), ["read", "data read", "trained", "weights and compiled"]),
    (("eval", "run"), ["read", "data read", "loss and metrics", "figures"]),
    (("compile", "run", "-o", "m.onnx"), ["read", "elaborated", "exported", "written", "checked", "verified"]),
]


def test_verbose_commands_print_their_stages_and_times(tmp_path: Path) -> None:
    for name in ("verbose", "quiet"):
        (tmp_path / name).mkdir()
    for command, expected in STAGES:
        done = invoke(*command, "-v", folder=tmp_path / "verbose")
        assert done.exit_code == 0, done.output
        stages = [line for line in done.stderr.splitlines() if re.search(r" in [\d,]+ ms$", line)]
        for name in expected:
            assert any(name in stage for stage in stages), (name, stages)
        quiet = invoke(*command, "-q", folder=tmp_path / "quiet")
        assert quiet.exit_code == 0 and " ms" not in quiet.stderr

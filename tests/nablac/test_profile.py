"""`nablac profile` and `nablac bench`: what they print and write, and what they refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import nablac.commands.bench as bench_command
from nablac.commands import cli
from nablac.commands.bench_processes import Candidate, run_benchmark
from nablac.commands.bench_processes import Result as Measured
from nablac.commands.bench_table import bench_text, to_json
from nablac.compiling import compile as compile_model
from runtime.profiling import steady
from runtime.profiling.steady import Turn, warm_up
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from tests.models import elaborate, text_source

TEXT = """
model M {
    input x: [batch, 4]
    output y = (x -> Dense(3) -> relu) * 2
}
train M {
    target t: [batch, 3]
    loss mse(y, t)
}
"""


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.model").write_text(TEXT)


def nablac(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_a_profile_is_three_tables_and_a_page() -> None:
    done = nablac("profile", "m.model", "--runs", "2", "--size", "batch=5", "--report", "p.html")
    assert done.exit_code == 0 and done.stderr == "p.html: the profile as a page\n"
    lines = done.stdout.splitlines()
    assert lines[0] == "M: inference with NumPy at batch=5" and lines[1].startswith("2 runs: ")
    assert [line.split()[0] for line in lines if line.endswith(("GFLOP/s", "text", "calls"))] == [
        *("layer", "line", "operator")
    ]
    page = Path("p.html").read_text()
    assert page.startswith("<!doctype html>") and "Flame graph" in page and "profile m.model" in page


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_a_training_step_has_a_profile_as_json(backend: str) -> None:
    done = nablac("profile", "m.model", "--train", "--backend", backend, "--runs", "1", "--json", "-q")
    facts = json.loads(done.stdout)
    assert (facts["what"], facts["backend"], facts["sizes"]) == ("training step", backend, {"batch": 32})
    assert sum(timing["seconds"] for timing in facts["timings"]) == pytest.approx(facts["seconds"])


USAGE = "Usage: nablac {0} [OPTIONS] FILE\nTry 'nablac {0} --help' for help.\n\nError: {1}\n"  # click 8.2: `-h`
ERRORS: list[tuple[list[str], str]] = [
    (
        ["profile", "m.model", "--size", "bacth=2"],
        "error[E905]: no input of M has a dim `bacth`\n --> bacth=2\nhelp: did you mean `batch`?\n",
    ),
    (
        ["profile", "m.model", "--report", "m.model"],
        "error[E904]: m.model is read by this command, and would be lost\n --> m.model\nhelp: name another file\n",
    ),
    (
        ["profile", "m.model", "--size", "batch"],
        USAGE.format("profile", "`--size batch` is not a size; write it as `--size batch=8`"),
    ),
    (
        ["bench", "m.model", "--form", "as compild"],
        USAGE.format("bench", "the model has no form `as compild`; did you mean `as compiled`?"),
    ),
    (
        ["bench", "m.model", "--size", "bacth=2"],
        "error[E905]: no input of M has a dim `bacth`\n --> bacth=2\nhelp: did you mean `batch`?\n",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS)
def test_mistakes_are_told_in_whole_sentences(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nablac.commands import main

    monkeypatch.setattr("sys.argv", ["nablac", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.replace(" -h' for help", " --help' for help") == message


def test_a_benchmark_has_a_row_for_each_candidate() -> None:
    done = nablac(
        "bench", "m.model", "--threads", "1", "--backend", "ort", "--form", "as compiled", "--rounds", "2", "--json"
    )
    assert done.exit_code == 0
    facts = json.loads(done.stdout)
    assert (facts["what"], facts["sizes"]) == ("inference", {"batch": 8})
    (row,) = facts["rows"]
    assert (row["backend"], row["threads"], row["form"], row["ratio"]) == ("ort", 1, "as compiled", 1.0)
    assert len(row["turns"]) == 2 and row["seconds"] > 0
    assert done.stderr.splitlines()[-2:] == ["round 1 of 2", "round 2 of 2"]


def test_forms_are_compared_with_the_most_threads() -> None:
    rows = bench_command._candidates(elaborate(TEXT), None, ("ort",), (1, 2), ())
    assert [(row.threads, row.form) for row in rows] == [
        (1, "as compiled"),
        (2, "as compiled"),
        (2, "without fuse-gemm"),
        (2, "weights by name"),
    ]


def test_a_training_step_is_compared_with_and_without_compiled_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="loops are compiled by numba: pip install 'nablac[jit]'")
    training = Training(
        text_source(TEXT.replace("loss mse(y, t)", "loss mse(y, t); optimizer adam(lr: 0.1)")), Options()
    )

    def choices(backend: str) -> list[bool | None]:
        rows = bench_command._candidates(training.step.measured, training, (backend,), (1,), ())
        assert not any(row.keep_weights for row in rows)
        return [row.jit for row in rows if row.disabled is None]

    assert choices("numpy") == [None, True, False]
    assert choices("ort") == [None, False], "its elementwise operators are onnxruntime's, and its update is compiled"
    assert [Candidate("ort", 1, jit=jit).form for jit in (True, False)] == ["with --jit", "with --no-jit"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choices("numpy") == [None]


@pytest.mark.parametrize("step", [(), ("--train",)])
def test_a_run_is_compared_as_its_model(step: tuple[str, ...]) -> None:
    np.savez("d.npz", x=np.ones((4, 4), "f4"), t=np.ones((4, 3), "f4"))
    Path("t.model").write_text(TEXT.replace("loss mse(y, t)", 'loss mse(y, t); data npz("d.npz"); epochs 1'))
    assert nablac("train", "t.model", "-o", "run", "-q").exit_code == 0
    one = ("--threads", "1", "--backend", "numpy", "--form", "as compiled", "--rounds", "1", "--json")
    done = nablac("bench", "run", *step, *one)
    facts = json.loads(done.stdout)
    assert (facts["model"], len(facts["rows"])) == ("run", 1) and facts["rows"][0]["seconds"] > 0


def test_a_fault_in_the_process_of_a_row_is_shown_as_one() -> None:
    with pytest.raises(RuntimeError, match=r"^AssertionError: broken") as raised:
        list(run_benchmark(BrokenJob(), [Candidate("numpy", 1)], 1, lambda text: None))  # type: ignore[arg-type]
    assert "in build" in raised.value.__notes__[0]


class BrokenJob:
    """A job with a fault of the program, not of the user."""

    as_step = False

    def build(self, candidate: Candidate) -> Any:
        raise AssertionError("broken")


BUSY = [
    Measured(Candidate("numpy", 1), {}, 0.5, 0.02, [Turn(0.002, 0.0019)]),
    Measured(Candidate("ort", 1), {}, 0.5, 0.01, [Turn(0.003, 0.001)]),
]


def test_a_busy_machine_is_told_and_processor_times_decide() -> None:
    assert bench_text(BUSY, "M") == (
        "M\n\n"
        "backend      threads  form            ms  spread  processor ms  first ms  ratio  processor ratio\n"
        "------------------------------------------------------------------------------------------------\n"
        "onnxruntime        1  as compiled  3.000    0.0%         1.000      10.0   1.50             1.00\n"
        "NumPy              1  as compiled  2.000    0.0%         1.900      20.0   1.00             1.90\n\n"
        "note: the machine is busy: a run lasts up to 3.0 times its processor time;\n"
        "      the rows are sorted by processor time, and `processor ratio` compares them"
    )
    assert [(row["ratio"], row["processor_ratio"]) for row in to_json(BUSY)] == [(1.0, 1.9), (1.5, 1.0)]
    two = [BUSY[0], Measured(Candidate("ort", 2), {}, 0.5, 0.01, [Turn(0.003, 0.001)])]
    lines = bench_text(two, "M").splitlines()
    assert [line.split()[0] for line in lines[4:6]] == ["NumPy", "onnxruntime"], "several threads: by the clock"
    assert lines[-1] == "      compare rows of as many threads by `processor ratio`, not by `ratio`"


RESULTS = [
    Measured(
        Candidate("numpy", 1), {"batch": 8}, 0.5, 0.02, [Turn(0.002, 0.0019), Turn(0.004, 0.003), Turn(0.003, 0.0025)]
    ),
    Measured(Candidate("ort", 2, "fuse-gemm"), {"batch": 8}, 0.5, 0.01, [Turn(0.001, 0.002)] * 3),
]
TABLE = """\
m.model: inference at batch=8

backend      threads  form                  ms  spread  processor ms  first ms  ratio
-------------------------------------------------------------------------------------
onnxruntime        2  without fuse-gemm  1.000    0.0%         2.000      10.0   1.00
NumPy              1  as compiled        3.000   16.7%         2.500      20.0   3.00
"""


def test_ctrl_c_prints_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> Iterator[list[Measured]]:
        yield RESULTS
        raise KeyboardInterrupt

    monkeypatch.setattr("nablac.commands.bench_processes.run_benchmark", interrupted)
    done = nablac("bench", "m.model", "--rounds", "9")
    assert (done.exit_code, done.stdout) == (0, TABLE)  # the group's own runner ignores what a command returns
    assert done.stderr == "interrupted after 3 of 9 rounds\n"
    assert bench_text(RESULTS, "m.model: inference at batch=8") == TABLE.rstrip("\n")


def test_a_warm_up_ends_when_its_time_stops_falling(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [9.0, 5.0, 5.0, 4.0, *[4.0] * 100]
    left = iter(times)
    monkeypatch.setattr(steady, "_seconds", lambda run: next(left))
    assert warm_up(lambda: None) == (9.0, 4.0)
    assert len(times) - len(list(left)) == 4 + steady._STEADY  # the fastest, and none that is faster


def test_a_profile_shows_its_tables_and_is_short_in_a_list() -> None:
    shown = compile_model("mlp").profile(runs=2, batch=4)
    assert re.fullmatch(r"\[<ModelProfile of MLP: inference, median \S+ ms, \S+ to \S+>\]", repr([shown]))
    printed: list[str] = []
    shown._repr_pretty_(SimpleNamespace(text=printed.append), False)
    assert printed == [str(shown).rstrip("\n")] and "\nlayer " in printed[0]

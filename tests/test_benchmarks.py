"""The benchmarks themselves: warm-up, medians, comparison, JSON, history, and that every case builds."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu, history, results
from benchmarks.__main__ import main
from benchmarks.cases import CASES
from benchmarks.competition import Plan, compete
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.measuring import Figure, burst, summarize, warm_up
from benchmarks.our_graphs import source_of
from benchmarks.processes import run_in_turns
from benchmarks.ratio_tables import page_of
from benchmarks.results import Row
from benchmarks.tables import TABLES
from benchmarks.tables.compile_to_disk import OURS as EXPORTED
from benchmarks.torch_export import NETWORKS as EXPORTED_BY_TORCH


def clock_of(times: list[float]) -> Iterator[float]:
    """The readings of a clock before and after steps that take these times, the last one again and again."""
    now = 0.0
    while True:
        time = times.pop(0) if len(times) > 1 else times[0]
        yield now
        now += time
        yield now


@pytest.mark.parametrize(
    ("times", "steps"),
    [([1.0], 6), ([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 1.0], 11), ([50.0, 1.0], 6)],
    ids=["steady", "falling", "compiled at first"],
)
def test_warm_up_ends_when_the_time_stops_falling(times: list[float], steps: int) -> None:
    readings = clock_of(times)
    assert len(warm_up(lambda: None, lambda: next(readings), seconds=60)) == steps


def test_warm_up_ends_when_its_time_is_over() -> None:
    readings = clock_of([2.0**-power for power in range(500)])
    assert len(warm_up(lambda: None, lambda: next(readings), seconds=0)) == 3


def test_a_burst_is_as_long_as_asked_and_gives_the_median() -> None:
    steps: list[int] = []
    readings = clock_of([1.0, 9.0, 2.0])
    assert burst(lambda: steps.append(1), lambda: next(readings), seconds=3, expected=1) == 2
    assert len(steps) == 3


def test_a_figure_is_the_median_and_the_middle_half() -> None:
    assert summarize([4.0, 1.0, 2.0, 3.0, 100.0]) == Figure(3.0, (4 - 2) / 3, 5)
    assert summarize([7.0]) == Figure(7.0, 0.0, 1)


FAKE = """
import numpy as np
from benchmarks.contenders import NotWritten

def import_packages(variant):
    pass

def training(job):
    if job.variant == "absent":
        raise NotWritten("nobody wrote it")
    if job.variant == "broken":
        raise ValueError("it is broken")
    print("what a library prints")
    return lambda: {"right": 1.00001, "wrong": 2.0}[job.variant]
"""


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Contenders of one module, in this process and in those that it starts; their names as ours begin with nablac."""
    names = {"nablac": "right", "peer": "right", "liar": "wrong", "absent": "absent", "broken": "broken"}
    fakes = {name: Contender("fake", variant) for name, variant in names.items()}
    fakes["not here"] = Contender("fake", "right", ("no_such_package",))
    (tmp_path / "fake.py").write_text(FAKE)
    start = (
        "import benchmarks.contenders as c; c.__path__.append({folder!r}); "
        "c.CONTENDERS.update({{name: c.Contender('fake', variant) for name, variant in {names!r}.items()}})"
    )
    (tmp_path / "sitecustomize.py").write_text(start.format(folder=str(tmp_path), names=names))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[1]}")
    for name, fake in fakes.items():
        monkeypatch.setitem(CONTENDERS, name, fake)
    monkeypatch.setattr("benchmarks.competition.OURS", ("nablac",))
    return tmp_path


def test_contenders_compete_if_they_compute_the_same(fakes: Path) -> None:
    plan = Plan(rounds=2, burst_seconds=0.001, warm_seconds=1)
    names = ["nablac", "peer", "liar", "absent", "broken", "not here"]
    outcomes = compete("mlp small", "training", names, 1, fakes, plan)
    measured = [name for name, outcome in outcomes.items() if outcome.seconds is not None]
    assert measured == ["nablac", "peer"]
    figure = outcomes["nablac"].seconds
    assert figure is not None
    assert figure.runs == 2
    assert outcomes["nablac"].warm_steps >= 6
    assert {name: outcome.note for name, outcome in outcomes.items() if outcome.note} == {
        "liar": "not comparable: its first loss is 2, ours 1.00001",
        "absent": "nobody wrote it",
        "broken": "ValueError: it is broken",
        "not here": "no_such_package not installed",
    }


def row(ours: float, peer: float, spread: float = 0.1) -> Row:
    return Row("training", "mlp", "ms", {"nablac": Figure(ours, spread, 5), "torch": Figure(peer, 0.0, 5)})


def test_a_row_compares_peers_with_the_best_of_ours_or_with_its_reference() -> None:
    figures = {name: Figure(time, 0.0, 1) for name, time in {"nablac ort": 4, "nablac numpy": 2, "torch": 8}.items()}
    assert Row("t", "c", "ms", figures).ratios() == {"torch": 4}
    assert Row("t", "c", "MiB", figures, reference="nablac ort").ratios() == {"torch": 2}
    assert Row("t", "c", "ms", {"torch": Figure(8, 0.0, 1)}).ratios() == {}


def test_the_document_says_where_and_when(tmp_path: Path) -> None:
    results.write(tmp_path / "results.json", results.document([row(2.0, 3.0)]))
    document = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert document.keys() == {"date", "commit", "machine", "versions", "rows"}
    assert {"processor", "cores", "memory_gib", "system", "python", "load"} == document["machine"].keys()
    assert document["versions"]["numpy"] == np.__version__
    (written,) = document["rows"]
    assert written["ratios"] == {"torch": 1.5}
    assert written["figures"]["nablac"] == {"median": 2.0, "spread": 0.1, "runs": 5}


def test_a_page_shows_what_peers_take_for_one_of_ours() -> None:
    time = {"nablac ort": Figure(2.0, 0.1, 7), "torch": Figure(3.0, 0.1, 7), "keras on jax": Figure(1.0, 0.1, 7)}
    rows = [
        Row("training", "mlp small", "ms", time),
        Row("training", "cnn small", "ms", {"nablac ort": Figure(4.0, 0.1, 7), "torch": Figure(4.0, 0.1, 7)}),
        Row("training", "not ours", "ms", {"torch": Figure(4.0, 0.1, 7)}),
    ]
    page = page_of(json.loads(json.dumps(results.document(rows))))
    assert page.endswith(
        "|  | nablac | torch | keras on jax |\n|---|---|---|---|\n"
        "| mlp small | 2 | 1.50 | 0.50 |\n| cnn small | 4 | 1.00 |  |\n"
    )


@pytest.mark.parametrize(
    ("now", "worse"),
    [(row(2.0, 3.0), 0), (row(2.3, 3.0), 0), (row(3.0, 3.0), 1), (row(3.0, 4.5), 0), (row(2.3, 3.0, 0.0), 1)],
    ids=["the same", "within the spreads", "slower", "a slower machine", "slower, with a small spread"],
)
def test_the_history_flags_what_became_worse_by_more_than_its_spread(tmp_path: Path, now: Row, worse: int) -> None:
    file = tmp_path / "history.jsonl"
    before = row(2.0, 3.0, now.figures["nablac"].spread)
    history.append(history.entry(results.document([before]), [before]), file)
    entry = history.entry(results.document([now]), [now])
    assert len(history.regressions(history.read(file), entry)) == worse


def test_whole_commands_are_measured_and_their_failure_is_told() -> None:
    usages = run_in_turns({"pass": ["-c", "pass"], "fail": ["-c", "raise SystemExit('no reason')"]}, 2, first=False)
    assert usages["pass"].processor_time().runs == 2
    assert usages["pass"].peak().median > 1
    assert usages["fail"].failure == "no reason"
    figures = usages["fail"].seconds
    assert not figures


@pytest.mark.parametrize("name", [name for name in CASES if name != "resnet50 b8"])
def test_every_case_is_a_model_of_its_inputs(name: str) -> None:
    case = CASES[name]()
    spec = source_of(case).spec(training=False)
    assert list(case.inputs()) == list(spec.graph.inputs)
    assert case.output in spec.graph.outputs
    assert bool(case.loss) == (spec.training is not None and "t" in case.feeds(np.random.default_rng(0)))


@pytest.mark.parametrize(
    "name", ["mlp small", "cnn small", "rnn small", "lstm small", "gru small", "transformer small"]
)
def test_the_same_weights_give_the_same_output_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.our_graphs import model_of, weights_of
    from runtime.training.trained import Trained

    case = CASES[name]()
    weights = weights_of(case)
    module = case.torch().eval()
    state = {path: torch.from_numpy(np.ascontiguousarray(array)) for path, array in case.weights(weights).items()}
    module.load_state_dict(state)
    with torch.inference_mode():
        theirs = module(*map(torch.from_numpy, case.inputs().values())).numpy()
    ours = model_of(case)._take(Trained(weights))(**case.inputs())[case.output]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_every_table_has_a_module_and_a_note() -> None:
    from importlib import import_module

    for table in TABLES.values():
        module = import_module(f"benchmarks.tables.{table.module}")
        assert callable(module.rows)
        assert module.NOTE
    assert EXPORTED.keys() == EXPORTED_BY_TORCH.keys()


def test_every_contender_has_a_module_with_something_to_measure() -> None:
    folder = Path(sys.modules["benchmarks.contenders"].__file__ or "").parent
    for contender in CONTENDERS.values():
        text = (folder / f"{contender.module}.py").read_text("utf-8")
        if "\ndef forecasts(folder" in text:
            continue
        assert "\ndef import_packages(" in text
        assert any(f"\ndef {work}(job" in text for work in ("training", "inference", "gradient", "generation"))


def test_the_command_line_tells_its_tables(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert [name for name in [*TABLES, *CONTENDERS] if f"\n  {name}" not in shown] == []


def test_the_script_for_a_gpu_compares_with_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, by the same code; PyTorch, whose compiler takes long, is measured elsewhere."""

    def no_torch(*arguments: object) -> tuple[float, float]:
        raise ImportError("no PyTorch")

    monkeypatch.setattr(gpu, "of_torch", no_torch)
    draws, mlp, reads, worker = gpu.rows("cpu", ("mlp small",), gpu.LONGEST, 0.01)
    assert draws["same"] and mlp["same"] and mlp["worst loss"] < 1e-5
    assert reads["same"] and worker["same"] and worker["worst loss"] < 1e-5
    assert mlp["step"].keys() == mlp["call"].keys() == {"nablac"} and mlp["no eager"] == "ImportError: no PyTorch"
    monkeypatch.setattr(gpu, "TOLERANCE", -1.0)
    assert not gpu.check_case("mlp small", "cpu", 0.01)["same"]


def test_the_script_for_a_gpu_names_what_did_not_fit_into_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for check in ("check_case", "check_reads", "check_worker"):
        monkeypatch.setattr(gpu, check, lambda name, device, seconds: {"case": name, "same": True})
    _, *skipped = gpu.rows("cpu", ("mlp small", "mlp large"), -1.0, 0.01)
    assert [row["skipped"] for row in skipped] == 4 * ["no time is left"]
    _, *checked = gpu.rows("cpu", ("mlp small",), 60.0, 0.01)
    assert checked == 3 * [{"case": "mlp small", "same": True}]

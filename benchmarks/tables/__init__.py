"""One module for each table: `rows` measures and yields them; `TABLES` lists the modules with what they show."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.competition import QUICK, Plan


@dataclass(frozen=True)
class Table:
    """A table: the module that measures it, and what it shows."""

    module: str
    shows: str


TABLES = {
    "training": Table("training_steps", "a training step (loss, gradients, Adam): time, the first steps, memory"),
    "inference": Table("inference_runs", "the forward pass: time and memory"),
    "gradient": Table("gradients", "loss and gradients as an ONNX graph, against onnx-ad"),
    "numpy": Table("numpy_runtime", "the NumPy runtime against onnx's ReferenceEvaluator and loops by hand"),
    "generation": Table("token_times", "time for a token of greedy generation"),
    "export": Table("compile_to_disk", "from a model to an ONNX file: processor time and memory of the process"),
    "start": Table("cold_start", "the cold command line against `import onnx`"),
    "nodes": Table("graph_nodes", "nodes of exported graphs"),
    "forecasting": Table("day_ahead", "forecasts of an hourly table of three stations: errors, time and memory"),
    "workers": Table("worker_steps", "a training step of two joined workers, against two processes and PyTorch's DDP"),
    "scaling": Table("scaling", "compile time for each node of an unrolled graph"),
}


@dataclass(frozen=True)
class Settings:
    """What is measured, and how long."""

    quick: bool = False
    cases: tuple[str, ...] = ()  # all where empty
    contenders: tuple[str, ...] = ()
    threads: tuple[int, ...] = (1, 2)
    plan: Plan = field(default_factory=Plan)

    def chosen(self, cases: list[str]) -> list[str]:
        """Those of a table's cases that were asked for."""
        return [case for case in cases if not self.cases or any(word in case for word in self.cases)]

    def competing(self, names: list[str]) -> list[str]:
        """Those of a table's contenders that were asked for, and ours."""
        if not self.contenders:
            return names
        return [name for name in names if name in self.contenders or name.startswith("nablac")]


def quick(settings: Settings) -> Settings:
    """The same on one thread, with fewer and shorter turns."""
    return Settings(True, settings.cases, settings.contenders, (1,), QUICK)

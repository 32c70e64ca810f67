"""The plan of a training with several workers: what a step costs here, and what it would cost with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import TYPE_CHECKING, Annotated, TypedDict

from compiler.byte_sizes import units_of
from nablac.workloads import RandomSteps, random_steps
from runtime.charts.lines import Series, line_chart
from runtime.freed_memory import freed_memory_kept
from runtime.profiling.grouping import BACKEND_NAMES
from runtime.profiling.steady import take_turn, warm_up
from runtime.training.steppers import InPlaceStepper
from runtime.training.worker_costs import WorkerMemory, memory_of_worker, messages_of_step
from runtime.workers.cost_model import Network, Prediction, StepTime, counts_of_workers, predict

if TYPE_CHECKING:
    from runtime.charts.panel import Chart
    from runtime.training.training_run import Training

_TURNS = 5
_SMALLER = 8  # times smaller than the batch: the second one that is measured where the batch is shared out
_BUSY = 1.3  # times its processor time: a step that lasts longer has waited for other work on the machine


class PlanRowJson(TypedDict):
    """A step of so many workers."""

    workers: Annotated[int, "how many"]
    batch: Annotated[int, "the largest of one worker"]
    examples: Annotated[int, "in the whole batch"]
    seconds: Annotated[float, "of a step"]
    reduction_seconds: Annotated[float, "of its reductions"]
    speedup: Annotated[float, "in examples a second, relative to one worker"]
    efficiency: Annotated[float, "the speedup for each worker"]


class PlanMemoryJson(TypedDict):
    """Bytes of a worker, by what they are for."""

    weights: Annotated[int, "with buffers"]
    gradients: Annotated[int, "of the weights"]
    optimizer: Annotated[int, "states of the update"]
    activations: Annotated[int, "the most that is alive at once"]
    batch: Annotated[int, "the examples"]
    reduction: Annotated[int, "a copy of the largest message"]
    total: Annotated[int, "all of them"]


class PlanJson(TypedDict):
    """A step with several workers, by a model of its cost."""

    model: Annotated[str, "the file"]
    workers: Annotated[int, "how many are asked for"]
    bandwidth: Annotated[float, "of the network, in bytes a second"]
    latency: Annotated[float, "in seconds"]
    fixed_batch: Annotated[bool, "whether the batch is shared out, or each worker has as many examples"]
    backend: Annotated[str, "`numpy` or `ort`"]
    device: Annotated[str, "where it was measured"]
    sizes: Annotated[dict[str, int], "of the named dims of one worker's batch"]
    seconds: Annotated[float, "of a step with one worker, measured"]
    gradient_seconds: Annotated[float, "of it, without the update"]
    update_seconds: Annotated[float, "of the update"]
    waiting: Annotated[float | None, "how many times its processor time a step took, if other work made it wait"]
    messages: Annotated[list[int], "bytes of each reduction of a step"]
    memory: PlanMemoryJson
    rows: Annotated[list[PlanRowJson], "by the number of workers"]


@dataclass(frozen=True)
class WorkerPlan:
    """What was measured and counted of a step, and what follows for several workers."""

    title: str
    workers: int
    network: Network
    fixed_batch: bool
    backend: str
    device: str
    sizes: Mapping[str, int]
    time: StepTime
    waiting: float | None
    messages: Sequence[int]
    memory: WorkerMemory

    @property
    def rows(self) -> list[Prediction]:
        """The predictions; of a batch that is shared out, up to one worker for each example."""
        counts = counts_of_workers(self.workers)
        if self.fixed_batch:
            counts = [count for count in counts if count <= self.time.batch]
        return [predict(self.time, self.messages, self.network, count, self.fixed_batch) for count in counts]

    def to_json(self) -> PlanJson:
        """As `nablac plan --json` prints it."""
        memory = self.memory
        return {
            "model": self.title,
            "workers": self.workers,
            "bandwidth": self.network.bandwidth,
            "latency": self.network.latency,
            "fixed_batch": self.fixed_batch,
            "backend": self.backend,
            "device": self.device,
            "sizes": dict(self.sizes),
            "seconds": self.time.whole,
            "gradient_seconds": self.time.gradients,
            "update_seconds": self.time.update,
            "waiting": self.waiting,
            "messages": list(self.messages),
            "memory": {
                "weights": memory.weights,
                "gradients": memory.gradients,
                "optimizer": memory.optimizer,
                "activations": memory.activations,
                "batch": memory.batch,
                "reduction": memory.reduction,
                "total": memory.total,
            },
            "rows": [
                {
                    "workers": row.workers,
                    "batch": row.batch,
                    "examples": row.examples,
                    "seconds": row.seconds,
                    "reduction_seconds": row.reduction,
                    "speedup": row.speedup,
                    "efficiency": row.efficiency,
                }
                for row in self.rows
            ],
        }

    def __str__(self) -> str:
        """The figures, the table and the assumptions, for people."""
        time, size = self.time, units_of(10**6)
        at = ", ".join(f"{name}={count}" for name, count in self.sizes.items())
        on = BACKEND_NAMES[self.backend] + ("" if self.device == "cpu" else f" on {self.device}")
        parts = ", ".join(f"{field.name} {size(getattr(self.memory, field.name))}" for field in fields(self.memory))
        speed = f"{self.network.bandwidth * 8 / 1e9:g} Gbit/s, latency {self.network.latency * 1e6:g} us"
        lines = [
            f"{self.title}: {self.workers} workers, {speed}",
            f"step of one worker: {_ms(time.whole)} ms with {on}"
            + (f" at {at}" if at else "")
            + f": gradients {_ms(time.gradients)} ms, update {_ms(time.update)} ms",
            f"reduced in a step: {size(sum(self.messages))} in {len(self.messages)} messages",
            f"memory of a worker: {size(self.memory.total)}: {parts}",
            "",
            *_table(self.rows),
            "",
            *(f"- {line}" for line in self.assumptions),
        ]
        return "\n".join(lines)

    @property
    def assumptions(self) -> list[str]:
        """What the predictions take for granted."""
        shared = [
            f"the batch of {self.time.batch} is shared out; the gradients of a smaller one take what lies on the line "
            f"through the times of {self.time.small} and {self.time.batch}"
        ]
        busy = (
            [f"this machine is busy, so that the processor time counts: a step lasted {self.waiting:.1f} times as long"]
            if self.waiting
            else []
        )
        return [
            "each worker has processors or a device of its own, as fast as what was measured here",
            "reductions follow the gradients: nothing overlaps",
            "a message takes latency + bytes / bandwidth; reductions run as a ring or by recursive doubling, if faster",
            "data is read, and results are evaluated and saved, at no cost",
            *(shared if self.fixed_batch else []),
            *busy,
        ]

    def chart(self) -> Chart:
        """The efficiency by the number of workers."""
        rows = self.rows
        counts, efficiencies = [float(row.workers) for row in rows], [row.efficiency for row in rows]
        name = f"{self.network.bandwidth * 8 / 1e9:g} Gbit/s"
        return line_chart(
            f"{self.title}: predicted efficiency",
            [Series(name, counts, efficiencies)],
            x_name="workers",
            y_name="efficiency",
            log_x=True,
            log_y=False,
            levels={"perfect": 1.0},
            note="workers as fast as this one; nothing overlaps",  # a line has room for no more
        )


@freed_memory_kept()
def plan_workers(
    title: str, training: Training, chosen_sizes: Mapping[str, int], workers: int, network: Network, fixed_batch: bool
) -> WorkerPlan:
    """Measure a step of one worker, count what it reduces and keeps in memory, and predict.

    NablacError for a training that several workers cannot share, before anything is measured.
    """
    steps = random_steps(training, chosen_sizes)
    training, sizes = steps.training, steps.sizes
    messages = messages_of_step(training, sizes, max(workers, 2))
    memory = memory_of_worker(training, sizes, max(messages))
    time, waiting = _measure(steps)
    if fixed_batch:
        small = max(1, training.batch // _SMALLER)
        axes = {name: small for name, size in sizes.items() if size == training.batch and name in _batch_axis(training)}
        smaller, _ = _measure(random_steps(training, {**sizes, **axes}))
        time = StepTime(time.batch, time.gradients, time.update, small, smaller.gradients)
    options = training.options
    return WorkerPlan(
        title, workers, network, fixed_batch, options.backend, options.device, sizes, time, waiting, messages, memory
    )


def _batch_axis(training: Training) -> set[str]:
    from compiler.training.data_parallel import batch_dims

    return batch_dims(training.elaborated)


def _measure(steps: RandomSteps) -> tuple[StepTime, float | None]:
    """The medians of warm steps, and of their updates alone; how many times its processor time a step took."""
    on_cpu = steps.training.options.device == "cpu"
    whole, waiting = _median(steps.workload.run, on_cpu)
    stepper = steps.stepper
    update = 0.0
    if isinstance(stepper, InPlaceStepper):
        update = min(_median(lambda: stepper.update.run(steps.feeds), on_cpu)[0], whole)
    return StepTime(steps.training.batch, whole - update, update), waiting


def _median(run: Callable[[], object], on_cpu: bool) -> tuple[float, float | None]:
    """The median of the seconds of a run, and how many times its processor time it lasted, if it had to wait.

    On a CPU a run that lasts longer than its processor time has waited for other work, and the latter counts.
    """
    _, fastest = warm_up(run)
    turns = [take_turn(run, fastest) for _ in range(_TURNS)]
    wall, processor = median(turn.wall for turn in turns), median(turn.processor for turn in turns)
    if not on_cpu or processor <= 0 or wall <= processor:
        return wall, None
    return processor, wall / processor if wall / processor > _BUSY else None


def _table(rows: Sequence[Prediction]) -> list[str]:
    header = ("workers", "batch", "step ms", "reduction ms", "speedup", "efficiency")
    cells = [
        (
            f"{row.workers:,}",
            f"{row.batch:,}",
            _ms(row.seconds),
            _ms(row.reduction),
            f"{row.speedup:,.1f}",
            f"{row.efficiency:.1%}",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (header, *cells)]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.3f}"

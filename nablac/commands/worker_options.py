"""The options of a training with several workers: how many, what starts them, and how they work together."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from nablac.commands.option_types import Count, Finite
from nablac.commands.options import collect_options, was_given, with_options
from nablac.commands.output import is_quiet, is_verbose, wants_json
from nablac.commands.worker_processes import is_worker


@dataclass(frozen=True)
class WorkerOptions:
    """The values of the options."""

    workers: int | None
    engine: str | None
    address: str | None
    elastic: bool
    worker_timeout: float
    sync_batch_norm: bool
    overlap: bool

    @property
    def starts_workers(self) -> bool:
        """Whether the command starts workers and watches them; they are commands themselves."""
        return self.engine == "ray" and not is_worker()

    def check(self, launched: int) -> None:
        """UsageError where the options do not fit each other, or the processes that a launcher has started."""
        if is_worker():
            return
        if self.engine == "ray":
            if self.workers is None:
                raise click.UsageError("`--engine ray` needs the number of workers, as `--workers 4`")
            if launched > 1:
                raise click.UsageError("`--engine ray` starts the workers itself: leave out `mpirun`")
            return
        for option, is_set in (("--address", self.address is not None), ("--elastic", self.elastic)):
            if is_set:
                raise click.UsageError(f"`{option}` is for `--engine ray`")
        count = self.workers or (2 if self.engine == "mpi" else launched)
        if launched == 1 and (self.engine == "mpi" or count > 1):
            raise click.UsageError(
                f"something has to start {count} workers: `mpirun -n {count} nablac train FILE`, on this machine or "
                f"those of a hostfile, or `--engine ray --workers {count}`, on this machine or a Ray cluster"
            )
        if count != launched:
            raise click.UsageError(f"`--workers {count}`, but `mpirun` has started {launched}")


def train_on_ray(
    options: WorkerOptions, max_minutes: float | None, trackers: tuple[str, ...], resume: Path | None, device: str
) -> int:
    """Train with workers on Ray; they run this command again, and continue its run when some of them are lost.

    With the `device` "cuda" each has a GPU of its own.
    """
    from nablac.commands.ray_training import RayTraining, watch_training
    from runtime.thread_limits import asked_threads

    started = time.monotonic()

    def resumed(folder: Path) -> list[str]:
        left = (
            []
            if max_minutes is None
            else ["--max-time", str(max(0.0, max_minutes - (time.monotonic() - started) / 60))]
        )
        flags = [
            flag for flag, is_set in (("--json", wants_json()), ("-q", is_quiet()), ("-v", is_verbose())) if is_set
        ]
        tracked = [word for name in trackers for word in ("--track", name)]
        return ["train", "--resume", str(folder), *left, *tracked, *flags]

    threads = asked_threads() if was_given("threads") else None
    return watch_training(
        RayTraining(
            sys.argv[1:], resumed, options.workers or 1, options.worker_timeout, threads or 1, int(device != "cpu"),
            options.address or os.environ.get("RAY_ADDRESS"), options.elastic, resume,
        )
    )  # fmt: skip


def worker_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options; the command gets them as one WorkerOptions, after its ModelOptions."""
    return with_options(collect_options(command, WorkerOptions), _OPTIONS)


_OPTIONS = (
    click.option("--workers", type=Count(1), metavar="N", help="Train with N workers, which share each batch."),
    click.option(
        "--engine",
        type=click.Choice(("mpi", "ray")),
        help="What the workers are: the processes of `mpirun`, or of a Ray cluster, which starts them.  "
        "[default: mpi under mpirun]",
    ),
    click.option(
        "--address",
        metavar="HOST:PORT",
        help="Join this Ray cluster; `auto` is that of this machine.  [default: RAY_ADDRESS, or start one here]",
    ),
    click.option("--elastic", is_flag=True, help="Restart lost workers of Ray, and continue from the last checkpoint."),
    click.option(
        "--sync-batch-norm",
        is_flag=True,
        help="Normalise by the examples of all workers: means and sums over a batch are of the whole batch.",
    ),
    click.option(
        "--overlap",
        is_flag=True,
        help="Reduce gradients over workers while the rest of the backward pass runs, for slow networks.",
    ),
    click.option(
        "--worker-timeout",
        type=Finite(1),
        default=600,
        show_default=True,
        metavar="SECONDS",
        help="End all workers when one does not answer for this time.",
    ),
)

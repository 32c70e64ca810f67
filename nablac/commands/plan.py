"""`nablac plan`: what a training would take with several workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nablac.commands.model_options import ModelOptions, model_options, weight_options
from nablac.commands.option_types import NamedPath, whole_number
from nablac.commands.options import output_options, run_options, size_option
from nablac.commands.output import note, print_json
from nablac.commands.training_setup import seed_of_step, set_up_step
from runtime.workers.cost_model import MOST_WORKERS, bandwidth_of, seconds_of

_PICTURES = (".svg", ".html", ".htm")


class Quantity(click.ParamType):  # type: ignore[type-arg]  # no generic before click 8.3
    """A number with a unit, which `parse` reads; it returns None for any other text. `forms` are examples."""

    def __init__(self, name: str, parse: Callable[[str], float | None], forms: str) -> None:
        self.name, self.parse, self.forms = name, parse, forms

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        """The number; `fail` if it is none."""
        number = self.parse(str(value))
        if number is None:
            self.fail(f"`{value!s:.40}` is not a {self.name}; write it as {self.forms}", parameter, context)
        return number


@click.command()
@model_options
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    default=8,
    show_default=True,
    metavar="N",
    help="Predict for N workers too, beside 1, 2, 4, ..., 1000.",
)
@click.option(
    "--network",
    "bandwidth",
    type=Quantity("bandwidth", bandwidth_of, "10Gb (bits) or 1GB/s (bytes)"),
    default="10Gb",
    show_default=True,
    metavar="BANDWIDTH",
    help="The bandwidth of each worker's network, such as 10Gb, 25Gb or 100Gb (bits), or 1GB/s (bytes).",
)
@click.option(
    "--latency",
    type=Quantity("duration", seconds_of, "50us or 1ms"),
    default="50us",
    show_default=True,
    metavar="TIME",
    help="The time of an empty message, such as 50us for TCP in one data centre, 2us for InfiniBand.",
)
@click.option(
    "--batch",
    type=whole_number("batch"),
    metavar="N",
    help="Examples of a worker's batch.  [default: from the train block]",
)
@click.option("--fixed-batch", is_flag=True, help="Share one batch out to the workers, instead of one for each.")
@click.option("-o", "--output", type=NamedPath(), help="Draw the efficiency to a .svg or .html file.")
@size_option("Run at this size of a named dim.")
@run_options
@weight_options
@output_options
def command(
    options: ModelOptions,
    workers: int,
    bandwidth: float,
    latency: float,
    batch: int | None,
    fixed_batch: bool,
    output: Path | None,
    sizes: dict[str, int],
    as_json: bool,
    quiet: bool,
) -> int:
    """Predict the speed of several workers.

    Measures a training step of one worker on random inputs, counts what it reduces and keeps in memory, and predicts
    the time of a step with more workers on a network: `speedup` is in examples a second, and `efficiency` the speedup
    for each worker. The assumptions are printed below the table.

    Each worker has a batch of its own, so that the whole batch grows with their number. With --fixed-batch, one batch
    is shared out.

    \b
    Example:
      nablac plan mlp --workers 8 --network 25Gb
    """
    from dataclasses import replace

    import nablac
    from nablac.worker_plan import plan_workers
    from runtime.atomic_files import write_bytes
    from runtime.charts.page import Figures, Section, page
    from runtime.outputs import check_output
    from runtime.workers.cost_model import Network

    if output is not None:
        if output.suffix.lower() not in _PICTURES:
            raise click.UsageError(f"`-o {output}` is a picture: name it {output.with_suffix('.svg')}, for example")
        check_output(output, reads=options.files_read())
    training = set_up_step(options, seed_of_step(options))
    if batch is not None:
        training.options = replace(training.options, batch=batch)
    if fixed_batch and workers > training.batch:
        counts = f"--fixed-batch shares {training.batch} examples out, and there are {workers} workers"
        raise click.UsageError(f"{counts}: choose a larger --batch")
    network = Network(bandwidth, latency)
    plan = plan_workers(Path(options.file).name, training, sizes, workers, network, fixed_batch)
    if as_json:
        print_json(plan.to_json())
    elif not quiet or output is None:
        click.echo(str(plan))
    if output is not None:
        chart = plan.chart()
        title = f"nablac {nablac.__version__}, plan {options.file}"
        text = (
            chart.svg() if output.suffix.lower() == ".svg" else page(title, [Section("Efficiency", [Figures([chart])])])
        )
        write_bytes(output, text.encode())
        note(f"{output}: the efficiency by the number of workers", quiet)
    return 0

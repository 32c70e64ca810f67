"""`nablac bench`: compare backends, threads and forms of a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from nablac.commands.model_options import ModelOptions, model_options, weight_options
from nablac.commands.model_setup import set_up_model
from nablac.commands.option_types import Count
from nablac.commands.options import output_options, size_option
from nablac.commands.output import note, print_json
from nablac.commands.runs import read_run
from nablac.commands.training_setup import seed_of_step, set_up_step
from runtime.backends import BACKENDS

if TYPE_CHECKING:
    from compiler.graph import Graph
    from nablac.commands.bench_processes import Candidate, Result
    from nablac.commands.bench_table import BenchJson
    from runtime.training.training_run import Training

_ROUNDS = 7


@click.command()
@model_options
@click.option("--train", "as_step", is_flag=True, help="Measure the training step of the train block.")
@size_option("Run at this size of a named dim.")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=click.Choice(BACKENDS),
    help="Measure this backend. Can be repeated.  [default: all]",
)
@click.option(
    "--threads",
    multiple=True,
    type=Count(1),
    metavar="N",
    help="Measure with N threads. Can be repeated.  [default: 1, 2, 4, ... up to the processors]",
)
@click.option(
    "--form",
    "forms",
    multiple=True,
    metavar="NAME",
    help="Measure this form: as compiled, weights by name, with --jit or --no-jit, or without PASS. Can be repeated.  "
    "[default: all]",
)
@click.option(
    "--rounds",
    type=Count(1),
    default=_ROUNDS,
    show_default=True,
    metavar="N",
    help="Give every row N turns.",
)
@weight_options
@output_options
def command(
    options: ModelOptions,
    as_step: bool,
    sizes: dict[str, int],
    backends: tuple[str, ...],
    threads: tuple[int, ...],
    forms: tuple[str, ...],
    rounds: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Compare backends, threads and forms of a model.

    Measures the model on random inputs, as it is compiled, with each number of threads; with the most of them also
    without each pass that changes it, with its weights by name, and in training with and without compiled loops
    (--jit). Every row has a process of its own. They warm up until their time stops falling, and then take turns.
    Ctrl-C prints what was measured so far.

    The times are medians. `spread` is half of the distance between the quartiles, `processor ms` the time of all
    processors together, `ratio` the time relative to the fastest. Where other work on the machine makes the rows wait,
    a note says so, and `processor ratio` is that of the processor times, by which rows of one thread are sorted.

    \b
    Example:
      echo 'model M { input x: [batch, 64]; output y = x -> Dense(64) -> relu }' > m.model
      nablac bench m.model --size batch=256
    """
    from nablac.commands.bench_processes import Job, run_benchmark
    from nablac.commands.bench_table import bench_text, to_json, waiting
    from runtime.profiling.workload import check_sizes

    seed, measured_model = seed_of_step(options), options
    if options.is_run:  # here, since the processes do not know which options the user gave
        measured_model = read_run(options.file).model(options)
    training = set_up_step(measured_model, seed) if as_step else None
    written = training.step.measured if training is not None else set_up_model(measured_model).elaborated
    check_sizes(written, sizes)
    candidates = _candidates(written, training, backends or BACKENDS, threads or _thread_counts(), forms)
    job = Job(measured_model, as_step, sizes, seed)
    results: list[Result] = []
    status = 0
    try:
        for measured in run_benchmark(job, candidates, rounds, lambda text: note(text, quiet)):
            results = measured
    except KeyboardInterrupt:
        status = 130
        note(f"interrupted after {len(results[-1].turns) if results else 0} of {rounds} rounds")
    if not results:
        return status
    what = "training step" if as_step else "inference"
    if as_json:
        rows = to_json(results)
        facts: BenchJson = {
            "model": str(options.file),
            "what": what,
            "sizes": dict(results[0].sizes),
            "waiting": waiting(results),
            "rows": rows,
        }
        print_json(facts)
    else:
        at = ", ".join(f"{name}={size}" for name, size in results[0].sizes.items())
        click.echo(bench_text(results, f"{options.file}: {what}" + (f" at {at}" if at else "")))
    return status


def _thread_counts() -> list[int]:
    """1, 2, 4 and so on up to the number of processors, which is the last."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    counts = [2**power for power in range(processors.bit_length()) if 2**power < processors]
    return [*counts, processors]


def _candidates(
    written: Graph, training: Training | None, backends: Sequence[str], threads: Sequence[int], forms: Sequence[str]
) -> list[Candidate]:
    """The rows of the table, of a training step or else of inference; UsageError for a form that there is not."""
    from grammar.diagnostics import did_you_mean
    from nablac.commands.bench_processes import Candidate

    chosen: list[Candidate] = []
    for backend in backends:
        chosen += [Candidate(backend, count) for count in threads]
        chosen += [Candidate(backend, max(threads), name) for name in _changing_passes(written, backend)]
        if training is None:
            chosen.append(Candidate(backend, max(threads), keep_weights=True))
        else:
            chosen += [Candidate(backend, max(threads), jit=jit) for jit in _loop_choices(training, backend)]
    known = list(dict.fromkeys(candidate.form for candidate in chosen))
    for form in forms:
        if form not in known:
            hint = did_you_mean(form, known) or f"the forms are {', '.join(f'`{name}`' for name in known)}"
            raise click.UsageError(f"the model has no form `{form}`; {hint}")
    return [candidate for candidate in chosen if not forms or candidate.form in forms]


def _changing_passes(written: Graph, backend: str) -> list[str]:
    """The names of the fusing passes that change the graph of a backend."""
    from compiler.passes.pipeline import PassRun, Stage, fusing_pass_names, optimize, pass_settings, run_stage
    from compiler.targets import NUMPY, ORT_CPU

    target = NUMPY if backend == "numpy" else ORT_CPU
    runs: list[PassRun] = []
    with pass_settings(observe=runs.append):
        graph = optimize(written, target)
        if backend == "ort":
            run_stage(graph, Stage.EXPORT, target)
    changed = {run.name for run in runs if run.after != run.before}
    return [name for name in fusing_pass_names() if name in changed]


def _loop_choices(training: Training, backend: str) -> list[bool]:
    """The values of `jit` that compile other loops than the step does where the user leaves it open."""
    from importlib.util import find_spec

    from runtime.training.loop_choice import LONG_RUN

    if find_spec("numba") is None:
        return []
    updates = training.compiles_update(LONG_RUN)
    return ([True] if backend == "numpy" or not updates else []) + ([False] if updates else [])

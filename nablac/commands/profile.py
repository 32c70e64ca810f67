"""`nablac profile`: where the time of a model goes."""

from __future__ import annotations

from pathlib import Path

import click

from nablac.commands.model_options import ModelOptions, model_options, weight_options
from nablac.commands.model_setup import set_up_model
from nablac.commands.option_types import Count, NamedPath
from nablac.commands.options import output_options, run_options, size_option
from nablac.commands.output import note, print_json
from nablac.commands.training_setup import seed_of_step, set_up_step
from nablac.output_suffixes import check_suffix
from runtime.profiling.timing import RUNS


@click.command()
@model_options
@click.option("--train", "as_step", is_flag=True, help="Profile the training step of the train block.")
@click.option("--runs", type=Count(1), default=RUNS, show_default=True, metavar="N", help="Measure N runs.")
@size_option("Run at this size of a named dim.")
@click.option("--report", type=NamedPath(), metavar="FILE", help="Write an HTML page with a flame graph.")
@run_options
@weight_options
@output_options
def command(
    options: ModelOptions,
    as_step: bool,
    runs: int,
    sizes: dict[str, int],
    report: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Show where the time of a model goes.

    Runs the model on random inputs, and lists the time of each layer, of each line of the text, and of each kind of
    operator. With --backend ort the times are those of onnxruntime's own profiler, which makes small operators slower;
    a kernel that it has fused of several operators counts for the last of them. The time of a run without the profiler
    is measured too.

    Where --size says nothing of it, the first axis of an input has 8 examples, in training the batch of the train
    block, and other named dims have 32.

    \b
    Example:
      echo 'model M { input x: [batch, 64]; output y = x -> Dense(64) -> relu }' > m.model
      nablac profile m.model --size batch=256 --report profile.html
    """
    from nablac.workloads import training_steps
    from runtime.freed_memory import freed_memory_kept
    from runtime.outputs import check_output
    from runtime.profiling.profiler import profile

    if report is not None:
        check_output(report, reads=options.files_read())
        check_suffix(report, "HTML")
    if as_step:
        training = set_up_step(options, seed_of_step(options))
        with freed_memory_kept():  # as in a training
            measured = profile(lambda: training_steps(training, sizes), runs)
    else:
        model = set_up_model(options)
        measured = profile(lambda: model.workload(sizes), runs)
    if as_json:
        print_json(measured.to_json())
    else:
        click.echo(str(measured))
    if report is not None:
        import nablac
        from runtime.atomic_files import write_bytes

        write_bytes(report, measured.html(f"nablac {nablac.__version__}, profile {options.file}").encode())
        note(f"{report}: the profile as a page", quiet)
    return 0

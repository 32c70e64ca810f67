"""`nablac tune`: search the ranges of a model; each trial is an ordinary run."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grammar.visible import shell_word
from nablac.commands.model_options import text_options
from nablac.commands.named_models import ModelFile
from nablac.commands.option_types import Count, Finite, NamedPath
from nablac.commands.options import output_options, run_options, training_options, was_given
from nablac.commands.output import note
from nablac.commands.signals import collected_signals
from nablac.commands.study_report import report_study
from runtime.search.search_kinds import PRUNERS, SEARCHES

if TYPE_CHECKING:
    from runtime.search.studies import OpenStudy
    from runtime.search.study_record import StudyRecord

_MOST_JOBS = 256


@click.command()
@click.argument("file", type=ModelFile(), metavar="[FILE]", required=False)
@text_options
@click.option(
    "--search",
    type=click.Choice(SEARCHES),
    default="tpe",
    show_default=True,
    help="Try every combination, random values, or values near those of good trials (TPE).",
)
@click.option("--trials", type=Count(1), metavar="N", help="The number of trials.  [default: 20, or the whole grid]")
@click.option(
    "--points",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    metavar="P",
    help="Use P values of each numeric range in a grid.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the search, not of the trials."
)
@click.option(
    "--jobs",
    "--workers",
    "jobs",
    type=click.IntRange(1, _MOST_JOBS),
    metavar="K",
    help="Run K trials at a time.  [default: 1, or what the Ray cluster has processors for]",
)
@click.option("--engine", type=click.Choice(("ray",)), help="Run trials on a Ray cluster, by Ray Tune.")
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Join this Ray cluster; `auto` is that of this machine.  [default: RAY_ADDRESS, or start one here]",
)
@click.option("--prune", is_flag=True, help="Stop trials early that are worse than others at that epoch.")
@click.option(
    "--pruner", type=click.Choice(PRUNERS), help="The rule of --prune.  [default: median, or halving (ASHA) on Ray]"
)
@click.option("--time", "minutes", type=Finite(0), metavar="MINUTES", help="Save and stop after this time.")
@click.option(
    "--resume",
    type=NamedPath(),
    metavar="STUDY",
    help="Resume a study, also while other processes work on it.",
)
@click.option(
    "--storage",
    metavar="FILE|URL",
    help="Share trials through this file or database (sqlite:///FILE, postgresql://, mysql://, redis://), for studies "
    "on several machines.  [default: in the study's folder]",
)
@click.option("-o", "--output", type=NamedPath(), help="Write to this folder.  [default: studies/MODEL/N]")
@training_options
@click.option(
    "--weights",
    type=NamedPath(),
    metavar="FILE",
    help="Start each trial from these weights.",
)
@run_options
@output_options
def command(
    file: Path | None,
    trials: int | None,
    jobs: int | None,
    engine: str | None,
    address: str | None,
    minutes: float | None,
    resume: Path | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
    **parameters: Any,
) -> int:
    """Search the ranges of a model.

    Ranges such as `16..128`, `log(1e-4..1e-1)` and `choice(...)` can be written instead of any value. Each trial is an
    ordinary run in the study's folder; the best one is written as a .model file, ready to train. Ctrl-C saves and
    stops; --resume STUDY resumes, in any number of processes, with --engine ray or without. Needs the extra
    nablac[tune].

    \b
    Example:
      nablac tune forecaster --search random --trials 2 --epochs 2

    \b
    With the extra nablac[ray]:
      nablac tune forecaster --engine ray --workers 2 --prune
    """
    from runtime.search.extra import require_optuna, require_ray_tune

    if address is not None and engine is None:
        raise click.UsageError("`--address` is for `--engine ray`")
    address = address or os.environ.get("RAY_ADDRESS")
    require_optuna()
    if engine == "ray":
        require_ray_tune()
    from runtime.search.storages import storage_errors

    ends = time.monotonic() + minutes * 60 if minutes is not None else None
    with ExitStack() as stack:
        if engine == "ray" and address is not None:  # before a folder is created: nobody may answer there
            stack.enter_context(_cluster(address))
        if resume:
            study = _resume(resume, file, output, parameters)
        else:
            study = _begin(file, output, trials, jobs, engine, parameters)
        stack.enter_context(storage_errors(study.address))
        total, caught = _work(study, trials, jobs, engine, address, ends, quiet or as_json)
        return report_study(study, total, caught, as_json, quiet)


def _cluster(address: str | None, cpus: int | None = None) -> AbstractContextManager[object]:
    """A Ray cluster that is joined, or started."""
    from runtime.workers.ray_cluster import connect

    return connect(address, cpus)


def _work(
    study: OpenStudy,
    trials: int | None,
    jobs: int | None,
    engine: str | None,
    address: str | None,
    ends: float | None,
    is_silent: bool,
) -> tuple[int, Sequence[int]]:
    """Run the trials of a study; returns the number of all, and the signals that have stopped them."""
    from nablac.commands.trial_progress import TrialProgress
    from runtime.search.processes import run_workers
    from runtime.search.studies import plan
    from runtime.search.worker import work
    from runtime.thread_limits import with_threads

    total = plan(study, trials)
    if not is_silent:
        _announce(study, total)
    with (
        TrialProgress(study, total, is_silent) as progress,
        with_threads(study.record.threads),
        collected_signals() as caught,
    ):

        def stop() -> bool:
            return bool(caught) or (ends is not None and time.monotonic() > ends)

        if engine == "ray":
            cpus = jobs * (study.record.threads or 1) if jobs is not None else None
            with _cluster(None, cpus) if address is None else nullcontext():
                from runtime.search.ray_engine import work_on_ray  # Ray reads its settings when it is imported

                work_on_ray(study, jobs, stop, progress.look, progress.epoch)
        elif jobs in (None, 1):
            work(study, stop, progress.look, progress.epoch)
        else:
            seconds = max(0.0, ends - time.monotonic()) if ends is not None else None
            run_workers(study, jobs or 1, seconds, lambda: bool(caught), progress.look)
        progress.look()
    return total, caught


def _begin(
    file: Path | None,
    output: Path | None,
    trials: int | None,
    jobs: int | None,
    engine: str | None,
    parameters: dict[str, Any],
) -> OpenStudy:
    """Start a new study."""
    import nablac
    from runtime.search.processes import share_of_processors
    from runtime.search.resuming import new_record
    from runtime.search.studies import begin_study
    from runtime.search.study_record import Search, TrialOptions
    from runtime.search.suggestions import require_variables
    from runtime.search.trial_setup import TrialSetup
    from runtime.thread_limits import processors
    from runtime.training.training_data import path_of

    if file is None:
        raise click.UsageError("name a .model file, or a study with --resume STUDY")
    if (file / "study.json").is_file():
        raise click.UsageError(f"{file} is a study: `nablac tune --resume {shell_word(file)}` resumes it")
    folder = None
    if file.is_dir():
        file, folder = _of_run(file, parameters)
    rule = "halving" if engine == "ray" else "median"
    kind = parameters["pruner"] or (rule if parameters["prune"] else None)
    options = TrialOptions(
        model=parameters["model"],
        preset=parameters["preset"],
        set=list(parameters["set"]),
        dtype=parameters["dtype"],
        weights=str(parameters["weights"].resolve()) if parameters["weights"] is not None else None,
        epochs=parameters["epochs"],
        patience=parameters["patience"],
        validation=parameters["validation"],
        data=path_of(parameters["data"]) if parameters["data"] is not None else None,
        backend=parameters["backend"],
        device=parameters["device"],
        skip_broken=parameters["skip_broken"],
        threads=_threads_of_trial(),
    )
    setup = TrialSetup(file, options, folder, say=note)
    require_variables(setup.source)
    search = Search(parameters["search"], parameters["points"], parameters["seed"], kind)
    threads = options.threads or share_of_processors(processors() if engine == "ray" else jobs or 1)
    address, name = _storage(parameters["storage"])
    record, epochs = new_record(setup, search, nablac.__version__, name, trials, threads)
    return begin_study(output, record, setup, epochs, address)


def _storage(storage: str | None) -> tuple[str | None, str | None]:
    """The name of a storage from any folder, and the same without its password."""
    from runtime.search.storages import absolute, without_password

    if storage is None:
        return None, None
    address = absolute(storage)
    return address, without_password(address)


def _threads_of_trial() -> int | None:
    """The threads of each trial, by --threads."""
    from runtime.thread_limits import asked_threads

    return asked_threads() if was_given("threads") else None


def _of_run(folder: Path, parameters: dict[str, Any]) -> tuple[Path, Path]:
    """The text of a run and the folder of its data; its options are added to `parameters` if they are not given."""
    from compiler.elaborate.program_texts import SPEC
    from nablac.commands.runs import read_run

    run = read_run(folder)
    for name in ("model", "preset", "set", "dtype", "validation", "data", "skip_broken"):
        if not was_given(name):
            parameters[name] = run.choices[name]
    return folder / SPEC, run.record.data_folder(folder)


def _resume(folder: Path, file: Path | None, output: Path | None, parameters: dict[str, Any]) -> OpenStudy:
    """Open a study to resume it; NablacError if the command contradicts it."""
    from runtime.search.resuming import resume_study
    from runtime.search.study_record import cannot_resume, check_same, read_study

    if output is not None:
        raise click.UsageError("-o names a new study's folder; a resumed study continues in its own")
    address, name = _storage(parameters["storage"])
    record = read_study(folder)
    if name is not None and name != record.storage:
        was = f"with --storage {record.storage}" if record.storage is not None else "without --storage"
        message, hint = f"{folder} was started {was}, not with {name}", "only the password of its URL may differ"
        raise cannot_resume(folder, message, hint)
    study = resume_study(folder, note, address)
    if file is not None and file.resolve() != study.setup.file.resolve():
        message = f"{folder} is a study of {study.setup.file}, not of {file}"
        raise cannot_resume(folder, message, f"`nablac tune --resume {shell_word(folder)}` resumes it")
    check_same(study.record, _requested(study.record, parameters), folder)
    return study


def _requested(record: StudyRecord, parameters: dict[str, Any]) -> StudyRecord:
    """A study's record, changed by the given options of the command."""
    from runtime.training.training_data import path_of

    requested: dict[str, Any] = {name: value for name, value in parameters.items() if was_given(name)}
    if "weights" in requested:
        requested["weights"] = str(requested["weights"].resolve())
    if (threads := _threads_of_trial()) is not None:
        requested["threads"] = threads
    if "data" in requested:
        requested["data"] = path_of(requested["data"])
    if "set" in requested:
        requested["set"] = list(requested["set"])
    search = {
        {"search": "kind"}.get(name, name): requested[name]
        for name in ("search", "points", "seed")
        if name in requested
    }
    if "pruner" in requested or "prune" in requested:
        search["pruner"] = requested.get("pruner") or record.search.pruner or "median"
    options = {name: value for name, value in requested.items() if hasattr(record.options, name)}
    return replace(record, search=replace(record.search, **search), options=replace(record.options, **options))


def _announce(study: OpenStudy, total: int) -> None:
    from runtime.search.suggestions import all_variables, describe_variable

    record = study.record
    how = {"grid": "a grid", "random": "at random", "tpe": "by TPE"}[record.search.kind]
    pruned = f", pruned by {record.search.pruner}" if record.search.pruner is not None else ""
    direction = "highest" if record.higher_is_better else "lowest"
    note(f"{study.folder}: {total:,} trials, {how}{pruned}, for the {direction} {record.monitor}")
    for variable in all_variables(study.setup.source):
        note(f"  {variable.name}: {describe_variable(variable)}")
    if not record.monitor.startswith("val_"):
        note(f"note: {record.monitor} is measured on the training examples; `validation 0.2` holds some of them out")

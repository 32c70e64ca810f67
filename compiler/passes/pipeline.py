"""Every pass, in the order in which they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from compiler.graph import Graph
from compiler.passes.bodies import Rewrite, everywhere, nodes_in_all
from compiler.passes.code_motion import hoist_steps, sink_results
from compiler.passes.common_subexpressions import eliminate_common_subexpressions
from compiler.passes.fold_constants import fold_constants
from compiler.passes.fuse_attention import fuse_attention
from compiler.passes.fuse_bias import BIAS
from compiler.passes.fuse_recurrences import fuse_recurrences
from compiler.passes.fuse_softmax import SOFTMAX
from compiler.passes.gradient_cuts import remove_gradient_cuts
from compiler.passes.join_masks import join_masks
from compiler.passes.keep_padding import PADDING
from compiler.passes.merge_scans import merge_scans
from compiler.passes.narrow_ranges import RANGES
from compiler.passes.pools import POOL_BEFORE_RELU, merge_pools
from compiler.passes.regroup_steps import regroup_steps
from compiler.passes.rules import Keeps, Rules, apply_rules
from compiler.passes.simplify import IDENTITIES


class Stage(StrEnum):
    """When a pass runs."""

    GRADIENT_CHECK = "gradient check"  # on a loss whose gradient is compared with differences
    BEFORE_GRADIENT = "before gradient"  # on the loss of a training step
    AFTER_GRADIENT = "after gradient"  # on any graph, for what differentiation leaves behind
    MODEL = "model"  # on any graph
    EXPORT = "export"  # on a graph that becomes ONNX, for what onnxruntime needs


@dataclass(frozen=True)
class Pass:
    """A rewrite of graphs with a name, by which it is listed, timed, switched off and tested."""

    name: str
    stage: Stage
    run: Rewrite
    keeps: Keeps


@dataclass(frozen=True)
class PassRun:
    """What a pass did to a graph: its nodes before and after, nested ones counted, in so many seconds."""

    name: str
    stage: Stage
    before: int
    after: int
    seconds: float


@dataclass(frozen=True)
class Settings:
    """Which passes are switched off, and who is told of each run."""

    disabled: frozenset[str] = frozenset()
    observe: Callable[[PassRun], None] | None = None


def _by_rules(name: str, stage: Stage, rules: Rules) -> Pass:
    keeps: Keeps = "bits" if all(rule.keeps == "bits" for rule in rules) else "rounding"
    return Pass(name, stage, partial(apply_rules, rules=rules), keeps)


_SIMPLIFY = _by_rules("simplify", Stage.MODEL, IDENTITIES)
_CLEANUP = (
    Pass(_SIMPLIFY.name, Stage.MODEL, everywhere(_SIMPLIFY.run), _SIMPLIFY.keeps),
    Pass("fold-constants", Stage.MODEL, everywhere(fold_constants), "bits"),
    Pass("common-subexpressions", Stage.MODEL, everywhere(eliminate_common_subexpressions), "bits"),
)

PASSES: tuple[Pass, ...] = (
    Pass("remove-gradient-cuts", Stage.GRADIENT_CHECK, remove_gradient_cuts, "bits"),
    _by_rules("pool-before-relu", Stage.BEFORE_GRADIENT, POOL_BEFORE_RELU),
    Pass("merge-scans", Stage.AFTER_GRADIENT, merge_scans, "bits"),
    Pass("merge-pools", Stage.AFTER_GRADIENT, merge_pools, "bits"),
    *_CLEANUP,
    Pass("sink-results", Stage.MODEL, sink_results, "rounding"),
    *_CLEANUP,
    Pass("fuse-rnn", Stage.MODEL, partial(fuse_recurrences, "rnn"), "rounding"),
    Pass("fuse-lstm", Stage.MODEL, partial(fuse_recurrences, "lstm"), "rounding"),
    Pass("fuse-gru", Stage.MODEL, partial(fuse_recurrences, "gru"), "rounding"),
    Pass("regroup-steps", Stage.MODEL, regroup_steps, "rounding"),
    Pass("hoist-steps", Stage.MODEL, hoist_steps, "rounding"),
    *_CLEANUP,
    _by_rules("fuse-softmax", Stage.MODEL, SOFTMAX),
    Pass("fuse-attention", Stage.MODEL, fuse_attention, "rounding"),
    _by_rules("fuse-bias", Stage.MODEL, BIAS),
    *_CLEANUP,
    Pass("join-masks", Stage.EXPORT, join_masks, "bits"),
    _by_rules("narrow-ranges", Stage.EXPORT, RANGES),
    _by_rules("keep-padding", Stage.EXPORT, PADDING),
)
NAMES = tuple(dict.fromkeys(each.name for each in PASSES))

_settings: ContextVar[Settings] = ContextVar("passes", default=Settings())  # noqa: B039 - Settings is immutable


@contextmanager
def pass_settings(disabled: Collection[str] = (), observe: Callable[[PassRun], None] | None = None) -> Iterator[None]:
    """Inside, the `disabled` passes do not run, and `observe` is told of every other."""
    token = _settings.set(Settings(frozenset(disabled), observe))
    try:
        yield
    finally:
        _settings.reset(token)


def run_stage(graph: Graph, stage: Stage, *, disabled: Collection[str] = ()) -> Graph:
    """`graph` after the passes of a stage, those `disabled` here or in `pass_settings` left out."""
    settings = _settings.get()
    for each in PASSES:
        if each.stage is not stage or each.name in disabled or each.name in settings.disabled:
            continue
        if settings.observe is None:
            graph = each.run(graph)
            continue
        before, begun = nodes_in_all(graph), time.perf_counter()
        graph = each.run(graph)
        seconds = time.perf_counter() - begun
        settings.observe(PassRun(each.name, stage, before, nodes_in_all(graph), seconds))
    return graph


OPTIMIZING = (Stage.AFTER_GRADIENT, Stage.MODEL)


def optimize(graph: Graph, *, disabled: Collection[str] = ()) -> Graph:
    """A graph of the same inputs and outputs that computes the same, sooner.

    What no output needs is gone by construction: a graph is what its ends reach. Passes in `disabled`, by their names,
    do not run.
    """
    for stage in OPTIMIZING:
        graph = run_stage(graph, stage, disabled=disabled)
    return graph

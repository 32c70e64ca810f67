"""The staged table of all passes, in the order in which they run.

The passes of a stage are imported when it first runs: `nablac check` differentiates, and needs no others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import cache, partial

from compiler.graph import Graph
from compiler.graph_costs import GraphCost, cost_of
from compiler.passes.bodies import Rewrite, everywhere
from compiler.passes.rules import Keeps, Rules, apply_rules
from compiler.targets import EXPORT_TARGETS, ORT_CPU, Target
from grammar.record import Record


class Stage(StrEnum):
    """When a pass runs."""

    GRADIENT_CHECK = "gradient check"  # on a loss whose gradient is compared with finite differences
    BEFORE_GRADIENT = "before gradient"  # on a loss that is differentiated next
    AFTER_GRADIENT = "after gradient"  # on any graph, for what differentiation leaves behind
    MODEL = "model"  # on any graph
    WEIGHTS = "weights"  # on a graph whose weights are known
    EXPORT = "export"  # on a graph that becomes ONNX, for what onnxruntime needs
    LOWERED = "lowered"  # on the nodes that become ONNX's, which are no longer a graph of operators


CLEAN_UP = "clean-up"  # the one pass on lowered nodes: `compiler/onnx/clean_up`


class Pass(Record):
    """A rewrite of graphs with a name by which it is listed, timed, disabled and tested."""

    name: str
    run: Rewrite
    keeps: Keeps
    rules: Rules = ()  # those that it applies, if it is made of rules


class PassRun(Record):
    """One run of a pass: the graph's cost before and after, at typical sizes of named dims, and the time in seconds."""

    name: str
    stage: Stage
    before: GraphCost
    after: GraphCost
    seconds: float


class Settings(Record):
    """Which passes are disabled, and a callback for each run."""

    disabled: frozenset[str] = frozenset()
    observe: Callable[[PassRun], None] | None = None


# The table


def _gradient_check(target: Target) -> tuple[Pass, ...]:
    from compiler.passes.gradient_cuts import remove_gradient_cuts

    return (Pass("remove-gradient-cuts", remove_gradient_cuts, "bits"),)


def _before_gradient(target: Target) -> tuple[Pass, ...]:
    from compiler.passes.fuse_normalizations import STANDARDIZATIONS
    from compiler.passes.pools import POOL_BEFORE_RELU

    return (
        _by_rules("pool-before-relu", POOL_BEFORE_RELU),
        _by_rules("standardize-before-gradient", STANDARDIZATIONS),
    )


def _after_gradient(target: Target) -> tuple[Pass, ...]:
    from compiler.passes.merge_scans import merge_scans
    from compiler.passes.pools import merge_pools

    return (
        Pass("merge-scans", everywhere(merge_scans), "bits"),
        Pass("merge-pools", merge_pools, "rounding"),
    )


def _clean_up() -> tuple[Pass, ...]:
    from compiler.passes.common_subexpressions import eliminate_common_subexpressions
    from compiler.passes.fold_constants import fold_constants
    from compiler.passes.simplify import IDENTITIES

    return (
        _by_rules("simplify", IDENTITIES, in_bodies=True),
        Pass("fold-constants", everywhere(fold_constants), "bits"),
        Pass("common-subexpressions", everywhere(eliminate_common_subexpressions), "bits"),
    )


def _model(target: Target) -> tuple[Pass, ...]:
    from compiler.passes.code_motion import hoist_steps, sink_results
    from compiler.passes.fuse_activations import ACTIVATIONS
    from compiler.passes.fuse_attention import fuse_attention
    from compiler.passes.fuse_bias import BIAS
    from compiler.passes.fuse_normalizations import MEANS, NORMALIZATIONS
    from compiler.passes.fuse_recurrences import fuse_recurrences
    from compiler.passes.fuse_softmax import SOFTMAX
    from compiler.passes.join_products import join_products_of_steps
    from compiler.passes.merge_reductions import REDUCTIONS
    from compiler.passes.pair_directions import JOINED, pair_directions
    from compiler.passes.regroup_steps import regroup_steps
    from compiler.passes.rejoin_parts import rejoin_parts
    from compiler.passes.share_keys import share_keys
    from compiler.passes.turn_products import TABLES

    clean_up = _clean_up()
    return (
        *clean_up,
        _by_rules("turn-products", TABLES),
        Pass("sink-results", everywhere(sink_results), "rounding"),
        *clean_up,
        Pass("fuse-rnn", partial(fuse_recurrences, "rnn", target), "rounding"),
        Pass("fuse-lstm", partial(fuse_recurrences, "lstm", target), "rounding"),
        Pass("fuse-gru", partial(fuse_recurrences, "gru", target), "rounding"),
        Pass("pair-directions", partial(pair_directions, target), "bits"),
        _by_rules("join-directions", JOINED),
        Pass("join-products", join_products_of_steps, "rounding"),
        Pass("regroup-steps", everywhere(regroup_steps), "rounding"),
        Pass("hoist-steps", everywhere(partial(hoist_steps, target=target)), "rounding"),
        *clean_up,
        Pass("rejoin-parts", everywhere(rejoin_parts), "bits"),
        _by_rules("fuse-softmax", SOFTMAX),
        Pass("fuse-attention", fuse_attention, "rounding"),
        _by_rules("fuse-bias", BIAS),
        _by_rules("merge-means", MEANS, in_bodies=True),
        _by_rules("fuse-normalizations", NORMALIZATIONS, in_bodies=True),
        _by_rules("fuse-activations", ACTIVATIONS, in_bodies=True),
        _by_rules("merge-reductions", REDUCTIONS),
        *clean_up,
        Pass("share-keys", everywhere(share_keys), "bits"),
    )


def _weights(target: Target) -> tuple[Pass, ...]:
    from compiler.passes.fold_affine import AFFINE, fold_affine
    from compiler.passes.fuse_batch_norm import BATCH_NORM, SCALES

    norms = (_by_rules("fuse-batch-norm", BATCH_NORM), _by_rules("fuse-scales", SCALES))
    fused = norms if target.scales_channels else ()
    return (Pass("fold-affine", fold_affine, "rounding", AFFINE), *fused, *_clean_up())


def _export(target: Target) -> tuple[Pass, ...]:
    from compiler.passes.fuse_batch_norm import BATCH_NORM
    from compiler.passes.fuse_gemm import GEMM
    from compiler.passes.fuse_rotary import ROTATED
    from compiler.passes.join_masks import join_masks
    from compiler.passes.keep_padding import PADDING
    from compiler.passes.narrow_ranges import RANGES
    from compiler.passes.pack_attention import PACKED
    from compiler.passes.pool_taps import pool_taps
    from compiler.passes.respell_gates import GATES
    from compiler.passes.scatter_products import SCATTER_PRODUCTS
    from compiler.passes.turn_square_products import turn_square_products
    from compiler.passes.unroll_scans import unroll_scans

    unrolled = () if target.repeats_steps else (Pass("unroll-scans", unroll_scans, "bits"), *_clean_up())
    scatters = () if target.has_scatter_add else (_by_rules("scatter-products", SCATTER_PRODUCTS, in_bodies=True),)
    taps = () if target.has_pool_indices else (Pass("pool-taps", pool_taps, "rounding"),)
    squares = () if target.turns_matrices else (Pass("turn-square-products", turn_square_products, "rounding"),)
    gates = () if target.multiplies_gates else (_by_rules("respell-gates", GATES, in_bodies=True),)
    has_rotary = target.has_kernel("RotaryEmbedding", "f32", target.highest_opset) and target.highest_opset >= 23
    return (
        *unrolled,
        *taps,
        *scatters,
        *squares,
        *gates,
        *((_by_rules("fuse-rotary", ROTATED),) if has_rotary else ()),
        Pass("join-masks", join_masks, "bits"),
        _by_rules("narrow-ranges", RANGES),
        _by_rules("keep-padding", PADDING),
        _by_rules("pack-attention", PACKED),
        _by_rules("fuse-batch-norm", BATCH_NORM),
        _by_rules("fuse-gemm", GEMM, in_bodies=True),
    )


_TABLE: dict[Stage, Callable[[Target], tuple[Pass, ...]]] = {
    Stage.GRADIENT_CHECK: _gradient_check,
    Stage.BEFORE_GRADIENT: _before_gradient,
    Stage.AFTER_GRADIENT: _after_gradient,
    Stage.MODEL: _model,
    Stage.WEIGHTS: _weights,
    Stage.EXPORT: _export,
    Stage.LOWERED: lambda target: (),
}
OPTIMIZING = (Stage.AFTER_GRADIENT, Stage.MODEL)


@cache
def passes_of(*stages: Stage, target: Target = ORT_CPU) -> tuple[Pass, ...]:
    """The passes of these stages in the order in which they run; a pass may run several times."""
    return tuple(pass_ for stage in stages for pass_ in _TABLE[stage](target))


def all_passes() -> dict[str, Pass]:
    """The passes of all targets by name; of those that depend on the target the first one's."""
    passes = [pass_ for target in EXPORT_TARGETS.values() for pass_ in passes_of(*Stage, target=target)]
    first = {pass_.name: pass_ for pass_ in reversed(passes)}
    return {pass_.name: first[pass_.name] for pass_ in passes}


def pass_names() -> tuple[str, ...]:
    """The names of all passes on graphs."""
    return tuple(all_passes())


def fusing_pass_names() -> tuple[str, ...]:
    """The names of the passes on graphs that choose other operators; the rest clean up after them."""
    cleaning = {pass_.name for pass_ in _clean_up()}
    return tuple(name for name in pass_names() if name not in cleaning)


def names_to_disable() -> tuple[str, ...]:
    """The names of all passes, that on lowered nodes included."""
    return (*pass_names(), CLEAN_UP)


def _by_rules(name: str, rules: Rules, in_bodies: bool = False) -> Pass:
    keeps: Keeps = "bits" if all(rule.keeps == "bits" for rule in rules) else "rounding"
    run = partial(apply_rules, rules=rules)
    return Pass(name, everywhere(run) if in_bodies else run, keeps, rules)


# Running them

_settings: ContextVar[Settings] = ContextVar("passes", default=Settings())  # noqa: B039 - Settings is immutable


@contextmanager
def pass_settings(disabled: Collection[str] = (), observe: Callable[[PassRun], None] | None = None) -> Iterator[None]:
    """A context in which the `disabled` passes do not run, and `observe` is called after every other."""
    token = _settings.set(Settings(frozenset(disabled), observe))
    try:
        yield
    finally:
        _settings.reset(token)


def run_stage(graph: Graph, stage: Stage, target: Target = ORT_CPU, *, disabled: Collection[str] = ()) -> Graph:
    """`graph` after the passes of a stage for a target, without those `disabled` here or in `pass_settings`."""
    settings, before = _settings.get(), None
    exhausted: set[str] = set()  # the passes that would leave the graph as it is
    for pass_ in passes_of(stage, target=target):
        if pass_.name in disabled or pass_.name in settings.disabled:
            continue
        if settings.observe is None:
            graph = _run(pass_, graph, exhausted)
            continue
        before, source, begun = cost_of(graph) if before is None else before, graph, time.perf_counter()
        graph = _run(pass_, graph, exhausted)
        seconds = time.perf_counter() - begun
        after = before if graph is source else cost_of(graph)
        settings.observe(PassRun(pass_.name, stage, before, after, seconds))
        before = after
    return graph


def _run(pass_: Pass, graph: Graph, exhausted: set[str]) -> Graph:
    if pass_.name in exhausted:
        return graph
    changed = pass_.run(graph)
    if changed is not graph:
        exhausted.clear()
    if changed is graph or pass_.rules:  # rules are applied until none applies
        exhausted.add(pass_.name)
    return changed


def run_on_nodes(name: str, count: Callable[[], int], run: Callable[[], None]) -> None:
    """Run a pass on lowered nodes, which `count` counts, unless `pass_settings` disables it."""
    settings = _settings.get()
    if name in settings.disabled:
        return
    if settings.observe is None:
        run()
        return
    before, begun = GraphCost(count()), time.perf_counter()
    run()
    seconds = time.perf_counter() - begun
    settings.observe(PassRun(name, Stage.LOWERED, before, GraphCost(count()), seconds))


def optimize(graph: Graph, target: Target = ORT_CPU, *, disabled: Collection[str] = ()) -> Graph:
    """An equivalent graph of the same inputs and outputs that runs faster on a target.

    Passes named in `disabled` do not run.

    Dead code needs no pass: a graph is what its outputs and updates reach.
    """
    for stage in OPTIMIZING:
        graph = run_stage(graph, stage, target, disabled=disabled)
    return graph

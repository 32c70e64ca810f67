"""A training run: from a program and its options to a folder with weights, curves and a compiled model."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.graph import Graph
from compiler.model_spec import SEED, ModelSpec
from compiler.operators.leaves import Input
from compiler.passes.pipeline import optimize
from compiler.targets import NUMPY
from compiler.training.data_parallel import OverWorkers, batch_dims, draw_by_index
from compiler.training.emulation import emulate_halves
from compiler.training.flat_updates import flat_update
from compiler.training.gradients import gradient_name
from compiler.training.losses import loss_graph, measured_loss, training_of, whole_graph
from compiler.training.measures import Measure
from compiler.training.mixed_precision import computes_in
from compiler.training.rematerialization import fit_into
from compiler.training.step import TrainingStep, map_graphs, training_step
from compiler.training.weighting import can_mask, with_masks
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.data.batches import Batches
from runtime.data.context import Context
from runtime.data.examples import Examples, fitted_to
from runtime.data.recipe import Recipe, recipe_of
from runtime.data.target_gaps import masked_targets
from runtime.initialization import initialize, stored_operators
from runtime.memory import require_memory_for, stored_bytes
from runtime.numpy_chains import LoopSettings
from runtime.thread_limits import available_threads
from runtime.training.checkpoints import Position, best_state, newest_checkpoint
from runtime.training.loop import Loop, Settings
from runtime.training.loop_choice import pays_to_compile
from runtime.training.loop_settings import check_shared, settings_of
from runtime.training.means import Means
from runtime.training.memory_budget import batch_sizes as sizes_of_batch
from runtime.training.memory_budget import known_sizes
from runtime.training.monitor_check import check_monitor
from runtime.training.not_finite import NotFinite, explain_not_finite, non_finite_paths
from runtime.training.steppers import (
    EvaluationStepper,
    InPlaceNumpyStepper,
    NumpyEvaluator,
    NumpyStepper,
    SplitGraphs,
    Stepper,
    StepperSetup,
    with_averages,
)
from runtime.training.thread_choice import threads_for
from runtime.training.trained import Trained, model_metadata, raw_graph, step_of, weights_of_model
from runtime.training.training_choices import TrainingChoices
from runtime.training.training_data import context_of, examples_of

if TYPE_CHECKING:
    from compiler.model_spec import TrainingSpec
    from compiler.types import Array
    from runtime.data.fitted import Fitted
    from runtime.data.padding import Padding

_OF_LOSS = frozenset({"step", "step_graph", "split_graphs", "loss_graph", "_measured_loss"})


class Training(TrainingChoices):
    """Everything that a run needs, built when it is first used."""

    @property
    def spec(self) -> TrainingSpec:
        """The train block; NablacError if the model has none."""
        if self.memory_budget is None:  # a step within a budget depends on the data
            self.step  # noqa: B018 - for its errors before those of the data
        return training_of(self.elaborated)

    @cached_property
    def step(self) -> TrainingStep:
        """The training step as a graph, before optimisation."""
        budget = self.memory_budget
        sizes = self.batch_sizes if budget is not None else None  # first, since the data may need masks
        workers = OverWorkers(self.options.sync_batch_norm) if self.collective is not None else None
        step = training_step(self._masked(self.elaborated), budget, sizes, workers, self.short)
        computes = self.short is None or computes_in(self.short, self.target or self._target)
        return step if computes else map_graphs(step, emulate_halves)

    @cached_property
    def batch_sizes(self) -> Mapping[str, int]:
        """The sizes of the named dims in the largest batch."""
        if self.sizes is not None:
            return self.sizes
        return sizes_of_batch(loss_graph(self.elaborated), self.batch, self.data.arrays)

    @property
    def _known_sizes(self) -> Mapping[str, int]:
        """The sizes of named dims in the largest batch, as far as they are known: data is not read for them."""
        read: Examples | None = vars(self).get("data")
        return self.sizes or known_sizes(loss_graph(self.elaborated), self.batch, read.arrays if read else {})

    @cached_property
    def _measured_loss(self) -> tuple[Graph, dict[str, Measure]]:
        model = self._masked(self.inference)
        graph, measures = measured_loss(model)
        return (graph if self.collective is None else draw_by_index(graph, batch_dims(model))), measures

    @cached_property
    def step_graph(self) -> Graph:
        """The optimised step, with the parts of its measures as outputs."""
        return self.within_budget(optimize(self.step.measured, self._target))

    def within_budget(self, graph: Graph, update: Graph | None = None) -> Graph:
        """An optimised training step that takes no more memory than its budget; NablacError if none does.

        `graph` may be its gradients alone: then the states that only its `update` reads lie beside them.
        """
        budget = self.memory_budget
        if budget is None:
            return graph
        read = {op.path for op in stored_operators(graph)}
        beside = [op for op in stored_operators(update) if op.path not in read] if update is not None else []
        return fit_into(graph, budget, self.batch_sizes, sum(map(stored_bytes, beside)))

    @cached_property
    def loss_graph(self) -> Graph:
        """The loss and the metrics in inference mode."""
        return optimize(self._measured_loss[0], self._target)

    @property
    def seed(self) -> int:
        """The seed of the command, else of the block, else 0."""
        return self.options.seed if self.options.seed is not None else self.spec.settings.seed

    @property
    def batch(self) -> int:
        """Examples in a batch: of the command, else of the block, else 32."""
        return self.options.batch if self.options.batch is not None else self.spec.settings.batch

    @cached_property
    def context(self) -> Context:
        """The context of all data sources and stages."""
        context = context_of(self.spec, self.options, self.data_folder, self.seed, self.known)
        fills = any(stage.name == "fill" for stage in training_of(self.inference).data)
        return replace(context, keeps_raw=self.keeps_raw, masks=fills and can_mask(self.inference))

    @cached_property
    def data(self) -> Examples:
        """The examples, by the names of the model's inputs and targets."""
        context = self.context  # first, for its error if there is no train block
        examples = examples_of(self.inference, context, self.options, self.batch, self.examples, self.load)
        if masked_targets(examples):
            for built in _OF_LOSS & vars(self).keys():  # before the data was known
                del vars(self)[built]
        return examples

    def _masked(self, spec: ModelSpec) -> ModelSpec:
        """A spec in which the entries of targets that the data lacks do not count; data is not read for it."""
        masked = masked_targets(self.data) if "data" in vars(self) else ()
        return with_masks(spec, masked) if masked else spec

    @property
    def inputs(self) -> dict[str, Any]:
        """The types of the model's inputs by name, without the key of random draws."""
        return {name: value.type for name, value in self.elaborated.graph.inputs.items() if name != SEED}

    def require_memory(self) -> None:
        """NablacError if the weights and states of a run exceed the memory."""
        known = self.start.weights if self.start is not None else {}
        stored = [op for op in stored_operators(self.step.measured) if op.path not in known]
        require_memory_for(stored, self.step.measured.name)

    def first_state(self) -> dict[str, Array]:
        """Initial values of everything that the step reads or changes."""
        weights = self.start.weights if self.start is not None else None
        state = initialize(self.step.measured, self.seed, weights)
        for path, array in initialize(whole_graph(self.inference), self.seed, weights).items():
            state.setdefault(path, array)
        for path, average in self.step.averages.items():
            state[average] = state[path].astype(state[average].dtype)
        return state

    @cached_property
    def split_graphs(self) -> SplitGraphs | None:
        """The optimised step in two graphs; None where its update reads more of a batch than its gradients."""
        split = self.step.split
        if split is None:
            return None
        update = optimize(split.apart, NUMPY)
        read = {node.op.label for node in update if isinstance(node.op, Input)} | self.step.measured.outputs.keys()
        outputs = {name: value for name, value in split.measured.outputs.items() if name in read}
        gradient = replace(split.measured, outputs=outputs)
        if self.collective is None:  # otherwise it is cut into segments first
            gradient = self.within_budget(optimize(gradient, self._target), update)
        names = {path: gradient_name(path) for path in self.step.trained}
        return SplitGraphs(gradient, flat_update(update, names, self.step.states))

    def stepper(self, state: MutableMapping[str, Array], steps: int = 0) -> Stepper:
        """A stepper on the chosen backend with a state by path, whose arrays it takes over: `state` is then empty.

        What it compiles depends on how many `steps` it will run.
        """
        if self.collective is not None:
            check_shared(self.step, self.memory_budget, self.collective.size)
        split = self.split_graphs if self._updates_on_cpu else None
        step = self.step_graph if split is None else self.step.measured
        setup = self._stepper_setup(state, step, split, self.compiles_update(steps))
        if self.collective is not None and split is not None:
            from runtime.training.worker_steppers import worker_stepper

            batch, options = batch_dims(self.elaborated), self.options
            return worker_stepper(
                setup, split, self.collective, batch, options.backend, options.overlap, options.device
            )
        if self.options.backend == "numpy":
            return NumpyStepper(setup) if split is None else InPlaceNumpyStepper(setup, split)
        if not self._updates_on_cpu:
            from runtime.training.device_stepper import READ_EVERY, DeviceStepper

            return DeviceStepper(setup, self.options.device, self.options.read_every or READ_EVERY)
        from runtime.training.onnx_steppers import InPlaceOnnxStepper, OnnxStepper

        return OnnxStepper(setup) if split is None else InPlaceOnnxStepper(setup, split)

    @property
    def _updates_on_cpu(self) -> bool:
        """Whether the state is in the memory of the CPU, as that of workers is on any device, and updated there."""
        return self.options.device == "cpu" or self.collective is not None

    def _stepper_setup(
        self,
        state: MutableMapping[str, Array],
        step: Graph,
        split: SplitGraphs | None = None,
        compiles_update: bool = False,
    ) -> StepperSetup:
        parts = dict.fromkeys(part for measure in self._measured_loss[1].values() for part in measure.parts)
        count = self.options.threads
        if count is None and self.options.backend != "numpy":
            measured = split.gradient if split is not None else step
            count = threads_for(measured, self.batch, self._known_sizes, available_threads())
        loops = LoopSettings(count, compiled=bool(self.options.jit))
        averages = self.step.averages
        return StepperSetup(step, self.loss_graph, state, averages, tuple(parts), split, loops, compiles_update)

    def _evaluation_stepper(self, state: MutableMapping[str, Array]) -> Stepper:
        """A stepper that only evaluates: neither the gradients nor their memory budget matter."""
        if self.options.device != "cpu":
            return self.stepper(state)
        setup = self._stepper_setup(state, self.step.measured)
        if self.options.backend == "numpy":
            return EvaluationStepper(NumpyEvaluator(setup, state), state)
        from runtime.training.onnx_steppers import OnnxEvaluator

        return EvaluationStepper(OnnxEvaluator(setup, state), state)

    def compiles_update(self, steps: int) -> bool:
        """Whether the loops of the update are compiled: as the options say, else where it pays for so many steps."""
        if self.options.jit is not None:
            return self.options.jit
        split = self.split_graphs if self._updates_on_cpu else None
        return split is not None and pays_to_compile(split.update, self.weight_count, steps)

    @property
    def weight_count(self) -> int:
        """The number of weights that are trained."""
        values = (self.step.graph.updates[path] for path in self.step.trained)
        return sum(math.prod(value.type.numeric_shape) for value in values)

    @property
    def steps_of_run(self) -> int:
        """The steps of all epochs, if nothing ends the run sooner."""
        settings, batches = self.settings(), -(-len(self.data.parts["training"]) // self.batch)
        return settings.epochs * min(batches, settings.limit_batches or batches)

    def batches(self, part: str) -> Batches:
        """The batches of a part of the examples; those of the training part are shuffled."""
        shuffle = part == "training" and self.spec.settings.shuffle
        workers = self.collective
        share = (workers.rank, workers.size) if workers is not None else None
        return Batches(self.data, part, self.batch, shuffle=shuffle, seed=self.seed, padding=self.padding, share=share)

    @cached_property
    def padding(self) -> Padding | None:
        """The padding of rows of tokens; None for other data."""
        from runtime.training.padding_probe import padding_of

        if not self.data.padded:
            return None
        return padding_of(self.inference, self.data, self.start.weights if self.start is not None else None)

    def settings(self) -> Settings:
        """The loop's settings: the command's, else the block's, else the defaults."""
        return settings_of(self.spec, self.options, self.seed)

    @property
    def higher_is_better(self) -> frozenset[str]:
        """The metrics that are known to be better when higher: by the library, or by the block's `mode`."""
        settings = self.settings()
        metric = self.spec.metric_of(settings.monitor)
        monitored = {metric} if metric is not None else set()
        higher = {name for name, best in self.spec.best.items() if best == "max"} - monitored
        return frozenset(higher | monitored if settings.higher_is_better else higher)

    def loop(self, folder: Path | None = None, resume: bool = False, trains: bool = True) -> Loop:
        """The loop, at its start or at the newest checkpoint in `folder`.

        NablacError if it `trains`, and the monitored quantity would not be measured.
        """
        damaged: list[NablacError] = []
        checkpoint = newest_checkpoint(folder, damaged) if resume and folder is not None else None
        if resume and checkpoint is None:
            hint = "its checkpoints are missing or damaged: start a new run"
            raise NablacError(Diagnostic(codes.E841, f"{folder} holds no checkpoint to resume from", hint=hint))
        state, position = checkpoint if checkpoint is not None else (self.first_state(), Position())
        validation = self.batches("validation") if len(self.data.parts["validation"]) else None
        if trains:
            check_monitor(self.spec, self._measured_loss[1], self.measured_whole, validation is not None)
        loop = Loop(
            self.stepper(state, self.steps_of_run) if trains else self._evaluation_stepper(state),
            self.batches("training"),
            validation,
            self.settings(),
            {
                name: value.type.dtype.numpy
                for graph in (self.step.measured, self.loss_graph)
                for name, value in graph.inputs.items()
            },
            Means(self.step.measures),
            Means(self._measured_loss[1]),
            folder,
            position,
            collective=self.collective,
        )
        loop.damaged = damaged
        if validation is not None:
            loop.stepper.prepare_evaluation()  # for its errors before the first step
        if folder is not None and position.best is not None:
            loop.best, loop.best_step = best_state(folder), position.best_step
        return loop

    @property
    def measured_whole(self) -> list[str]:
        """The metrics that compare examples with one another: they are not measured on training batches."""
        return [name for name in self._measured_loss[1] if name not in self.step.measures]

    @property
    def is_by_batches(self) -> bool:
        """Whether the loss compares the examples of a batch, so that its value depends on `batch`."""
        return self._measured_loss[1]["loss"].by_batches

    def explain_not_finite(self, loop: Loop, error: NotFinite) -> NablacError:
        """The error for a loss or state that is not finite, found by repeating the steps since the last good state."""
        before = loop.stepper.before()
        if before and not non_finite_paths(before):
            state, position = before, error.position
        else:
            state, position = loop.last_good_state() or (self.first_state(), Position())
        allowed = frozenset(non_finite_paths(state))
        steps = loop.replay(self.stepper(dict(state)), position)
        return explain_not_finite(error, steps, allowed, self.step.graph, self.name)

    def trained(self, loop: Loop) -> Trained:
        """The result of a run: the weights of its best epoch."""
        state = loop.best or loop.stepper.state()
        return Trained(self.model_weights(state), self.fitted_now, loop.best_step if loop.best else loop.updates)

    def evaluate(self, part: str) -> dict[str, float]:
        """The loss and the metrics of a part, with the initial weights."""
        return self.loop(trains=False).evaluate(self.batches(part), step_of(self.start, self.loss_graph))

    def model_weights(self, state: Mapping[str, Array]) -> dict[str, Array]:
        """The weights of a state that belong to the model and its loss, with averages in place of weights."""
        in_training = (op.path for op in stored_operators(self.step.graph) if op.path not in self.step.states)
        return weights_of_model(self.inference, in_training, with_averages(state, self.step.averages))

    def model_graph(self) -> Graph:
        """The model for inference, with inputs and outputs in raw units."""
        return optimize(raw_graph(self.inference, self.fitted_now))

    def metadata(self) -> dict[str, str]:
        """The metadata of the compiled model: units, a text model's tokenizer, the names of classes."""
        return model_metadata(self.inference, self.fitted_now)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the data, by which later data is fed to the trained model."""
        recipe = recipe_of(self.inference, self.fitted_now)
        assert recipe is not None
        return recipe

    @property
    def fitted_now(self) -> Fitted:
        """The fitted state of the data."""
        return fitted_to(self.data)

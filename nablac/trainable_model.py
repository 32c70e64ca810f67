"""The training and the evaluation of a model in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from nablac.arguments import arrays_of, check_path, not_by_name, plain
from nablac.model_views import ModelViews

if TYPE_CHECKING:
    from compiler.types import Array
    from nablac.callbacks import AnyCallback, Callback
    from nablac.evaluating import Split
    from nablac.history import History
    from runtime.training.run_options import Options
    from runtime.training.trained import Trained
    from runtime.training.training_run import Training

Arrays = Mapping[str, Any]  # by name: NumPy's, lists of numbers, tensors of PyTorch; a data frame is one too


class TrainableModel(ModelViews):
    """A model that trains and evaluates itself."""

    seed: int
    backend: str
    device: str
    _folder: Path | None
    _weights: dict[str, Array] | None
    _trained: Trained | None
    _split: Split | None

    if TYPE_CHECKING:

        def read_weights(self) -> dict[str, Array]:
            """The weights by path."""

        def _take(self, trained: Trained) -> Any: ...

    def train(
        self,
        data: Arrays | None = None,
        *unnamed: Never,
        folder: str | Path | None = None,
        resume: bool = False,
        callbacks: AnyCallback | Sequence[AnyCallback] = (),
        trackers: str | Callback | Sequence[str | Callback] = (),
        progress: bool | None = None,
        epochs: int | None = None,
        batch: int | None = None,
        validation: float | None = None,
        patience: int | None = None,
        seed: int | None = None,
        backend: str | None = None,
        device: str | None = None,
        jit: bool | None = None,
        limit_batches: int | None = None,
        max_seconds: float | None = None,
        overfit: int | None = None,
        skip_broken: bool = False,
        checkpoint_seconds: float = 30.0,
        keep: int = 3,
        memory_budget: int | str | None = None,
        precision: str | None = None,
        read_every: int | None = None,
        **unknown: Never,
    ) -> History:
        """Train as the train block specifies, on its data or on arrays by input and target name.

        None leaves an option to the train block, or to the model: `epochs`, examples in a `batch`, the fraction for
        `validation`, epochs of `patience`, the `seed`, the `backend`, and so on, as `nablac train` has them. The run is
        written to `folder`, with the latest `keep` checkpoints; with `resume` the run in it continues.

        `callbacks` are objects with methods of `nablac.Callback`, or functions of an epoch and its metrics; they end
        the run with `raise nablac.StopTraining`. `trackers` are callbacks too, or names such as "mlflow", and their
        failures only warn. `progress` is shown in a notebook or on a terminal, unless it is False.

        Afterwards the model has the best weights and works in raw units, also where Ctrl-C or an error of a callback
        ends the run: these are raised once the run is saved. NablacError if training cannot continue.
        """
        __tracebackhide__ = True  # as in `fit`
        from nablac.evaluating import Split
        from nablac.fitting import Watching, fit
        from runtime.training.run_options import options_of

        if unnamed:
            raise not_by_name(f"{1 + len(unnamed)} arguments without names", "train", self.spec)
        own = {"backend": self.backend, "device": self.device, "seed": self.seed}
        named = {"backend": backend, "device": device, "seed": seed}
        options = {
            **{name: own[name] if value is None else plain(value) for name, value in named.items()},
            **unknown,  # for the hint of what it may have meant
            "epochs": plain(epochs),
            "batch": plain(batch),
            "validation": plain(validation),
            "patience": plain(patience),
            "jit": jit,
            "limit_batches": plain(limit_batches),
            "max_seconds": plain(max_seconds),
            "overfit": plain(overfit),
            "skip_broken": skip_broken,
            "checkpoint_seconds": plain(checkpoint_seconds),
            "keep": plain(keep),
            "memory_budget": plain(memory_budget),
            "precision": precision,
            "read_every": plain(read_every),
        }
        training = self._training_on(data, options_of(options), drawn_anew=True)
        names = ("validation", "seed", "overfit", "skip_broken")
        split = Split({name: options[name] for name in names}, arrays=training.examples)

        def take(trained: Trained) -> None:
            self._take(trained)
            self._split = split

        if folder is not None:
            check_path(folder, "folder", "the name of a folder")
        run = Path(folder) if folder is not None else None
        return fit(training, run, resume, Watching(callbacks, trackers, progress), take)

    def evaluate(
        self,
        data: Arrays | str | Path | None = None,
        *unnamed: Never,
        part: str | None = None,
        batch: int | None = None,
        skip_broken: bool = False,
    ) -> dict[str, float]:
        """The loss and the metrics, on arrays by input and target name, on a file, or on the data of the training.

        `part` is "test", "validation", "training" or "all", divided as in the training; by default it is all of `data`,
        and of the training's data the first part that was held out. The numbers are those of `nablac eval`: of scaled
        data where the training scales it. NablacError for data that does not fit, and for that of a run which has
        changed since.
        """
        from nablac.evaluating import Split, evaluate
        from runtime.training.run_options import Options

        if unnamed:
            raise not_by_name(f"{1 + len(unnamed)} arguments without names", "evaluate", self.spec)
        split = self._split or Split()
        file = str(data) if isinstance(data, (str, PathLike)) else None
        own = Options(backend=self.backend, device=self.device, seed=self.seed, batch=plain(batch))
        if data is not None and part in (None, "all"):
            options, part = replace(own, data=file, undivided=True), "all"
        else:
            options = replace(own, **split.options)
            options = options if file is None else replace(options, data=file)
        options = replace(options, skip_broken=skip_broken or options.skip_broken)
        training = self._training_on(None if file else data, options)
        if data is None:
            training.examples = split.examples(self.spec)
        return evaluate(training, part, split if data is None else Split())

    def __reduce__(self) -> tuple[Any, ...]:
        """What `pickle` and `copy` need; PicklingError for a model that comes from no text."""
        from nablac.model_copies import reduced

        return reduced(self)

    def _training_on(self, data: Arrays | str | Path | None, options: Options, drawn_anew: bool = False) -> Training:
        """The training of the model on the train block's data or on arrays, from its weights.

        If these are not drawn yet and `drawn_anew`, they will be drawn from the seed of the training.
        """
        from runtime.data.arrays import from_arrays
        from runtime.training.trained import Trained
        from runtime.training.training_run import Training

        start = None
        if not drawn_anew or self._weights is not None or self._trained is not None:
            step = self._trained.step if self._trained is not None and not drawn_anew else None
            start = Trained(self.read_weights(), self.fitted, step)
        training = Training(self._source, options, start, folder=self._folder)
        if data is not None:
            method = "train" if drawn_anew else "evaluate"
            training.examples = from_arrays(arrays_of(data, self.spec, method), "data")
        return training

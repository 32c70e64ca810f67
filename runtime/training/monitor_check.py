"""Whether the quantity that decides which weights are best is measured."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from compiler.model_spec import TrainingSpec
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean


def check_monitor(spec: TrainingSpec, measured: Iterable[str], whole: Collection[str], validated: bool) -> None:
    """NablacError if the monitored quantity is not measured.

    `measured` are the loss and the metrics, of which those in `whole` are computed of all examples at once, on
    validation data only; `validated` says whether there is any.
    """
    monitor = spec.settings.monitor
    of_all = list(measured)
    names = [name for name in of_all if name not in whole]
    names += [f"val_{name}" for name in of_all if validated]
    if monitor is None or monitor in names:
        return
    hint = did_you_mean(monitor, names) or f"the choices are {', '.join(names)}"
    if not validated and monitor in [f"val_{name}" for name in of_all]:
        hint = "there is no validation data: `validation 0.1` in the train block holds some out"
    if spec.metric_of(monitor) in whole:
        hint = "it is computed of all examples at once, on validation data only: `val_NAME`"
    raise NablacError(Diagnostic(codes.E615, f"the `monitor` {monitor} is not measured", spec.span, hint=hint))

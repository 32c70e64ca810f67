"""What a command may say of a run beside its train block."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.backends import check_backend


@dataclass(frozen=True)
class Options:
    """What a command may say beside the train block; None leaves it to the block.

    NablacError for a backend or a device that there is not.
    """

    epochs: int | None = None
    batch: int | None = None
    validation: float | None = None
    patience: int | None = None
    seed: int | None = None
    data: str | None = None  # instead of the path that the block names
    undivided: bool = False  # whether all of that data is one part, and the block's other files are left
    backend: str = "numpy"
    device: str = "cpu"
    limit_batches: int | None = None
    max_seconds: float | None = None
    overfit: int | None = None
    skip_broken: bool = False
    checkpoint_seconds: float = 30.0
    keep: int = 3  # of the last checkpoints

    def __post_init__(self) -> None:
        check_backend(self.backend, self.device)

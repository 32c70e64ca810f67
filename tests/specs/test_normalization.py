"""Normalisations against torch, in both modes."""

from __future__ import annotations

from tests.specs.parity import Case, case, check, each, torch
from tests.specs.weights import batch_norm, norm, same

nn = torch.nn
SIZES = ({"batch": 1, "n": 3}, {"batch": 2, "n": 5}, {"batch": 7, "n": 2})
IMAGE = ("batch", 6, "n", 4)


def running(module: nn.Module) -> dict[str, object]:  # type: ignore[name-defined]
    return {"batch_norm.running_mean": module.running_mean, "batch_norm.running_variance": module.running_var}


CASES = (
    case(
        "BatchNorm of images",
        "output x -> BatchNorm()",
        nn.BatchNorm2d(6),
        batch_norm("batch_norm"),
        sizes=SIZES,
        x=IMAGE,
    ),
    case(
        "BatchNorm of images in training",
        "output x -> BatchNorm()",
        nn.BatchNorm2d(6),
        batch_norm("batch_norm"),
        training=True,
        updates=running,
        sizes=SIZES,
        x=IMAGE,
    ),
    case(
        "BatchNorm that follows slowly",
        "output x -> BatchNorm(momentum: 0.99, eps: 1e-3)",
        nn.BatchNorm2d(6, eps=1e-3, momentum=0.01),
        batch_norm("batch_norm"),
        training=True,
        updates=running,
        sizes=SIZES,
        x=IMAGE,
    ),
    case(
        "BatchNorm of vectors in training",
        "output x -> BatchNorm()",
        nn.BatchNorm1d(6),
        batch_norm("batch_norm"),
        training=True,
        updates=running,
        sizes=SIZES[1:],
        x=("batch", 6),
    ),
    case(
        "BatchNorm of sequences",
        "output x -> BatchNorm()",
        nn.BatchNorm1d(6),
        batch_norm("batch_norm"),
        training=True,
        updates=running,
        sizes=SIZES,
        x=("batch", 6, "n"),
    ),
    case("LayerNorm", "output x -> LayerNorm()", nn.LayerNorm(5), norm("layer_norm"), sizes=SIZES, x=("batch", "n", 5)),
    case(
        "LayerNorm without bias",
        "output x -> LayerNorm(1e-3, bias: false)",
        nn.LayerNorm(5, 1e-3, bias=False),
        same("layer_norm", gamma="weight"),
        sizes=SIZES,
        x=("batch", 5),
    ),
    case(
        "RMSNorm",
        "output x -> RMSNorm()",
        nn.RMSNorm(5, 1e-6),
        same("rms_norm", gamma="weight"),
        sizes=SIZES,
        x=("batch", "n", 5),
    ),
    case("GroupNorm", "output x -> GroupNorm(3)", nn.GroupNorm(3, 6), norm("group_norm"), sizes=SIZES, x=IMAGE),
    case(
        "InstanceNorm",
        "output x -> InstanceNorm()",
        nn.InstanceNorm2d(6, affine=True),
        norm("instance_norm.group_norm"),
        sizes=SIZES,
        x=IMAGE,
    ),
)


@each(CASES)
def test_normalisations_are_torchs(case: Case) -> None:
    check(case)

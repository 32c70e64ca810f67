"""The gradients of the whole library, of the example models too, and theirs, against torch's autograd."""

from __future__ import annotations

from tests.specs import (
    test_attention,
    test_convolution,
    test_functions,
    test_models,
    test_normalization,
    test_recurrent,
)
from tests.specs.parity import Case, check_gradients, each

CASES = (
    *test_functions.ACTIVATIONS,
    *test_functions.LOSSES,
    *test_functions.METRICS,
    *test_recurrent.CASES,
    *test_convolution.PLANE,
    *test_convolution.LINE,
    *test_convolution.UNEVEN,
    *test_convolution.TRANSPOSED,
    *test_convolution.POOLED,
    *test_convolution.SHAPED,
    *test_normalization.CASES,
    *test_attention.ATTENTION,
    *test_attention.TRANSFORMERS,
    *test_models.MODELS,
)


@each(CASES)
def test_gradients_are_torchs(case: Case) -> None:
    check_gradients(case)

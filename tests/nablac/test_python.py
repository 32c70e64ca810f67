"""nablac as Python sees it: what is asked for is done, or refused in Python's own words."""

from __future__ import annotations

from typing import Any

import pytest

import nablac
from grammar.diagnostics import NablacError

TEXT = "model M(hidden = 4) {\n    input x: [batch, 3]\n    output y = x -> Dense(hidden)\n}\n"

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown backend": ({"backend": "foo"}, "E910: there is no backend `foo`"),
    "an unknown device": ({"device": "tpu", "backend": "ort"}, "E910: there is no device `tpu`"),
    "a device that NumPy lacks": ({"device": "cuda"}, "E910: the NumPy runtime has no device but the CPU"),
}


@pytest.mark.parametrize("label", REFUSED)
def test_what_cannot_be_had_is_refused_when_it_is_asked_for(label: str) -> None:
    options, expected = REFUSED[label]
    with pytest.raises(NablacError) as caught:
        nablac.compile(TEXT, **options)
    code, _, message = expected.partition(": ")
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == (code, message)


def test_training_refuses_an_unknown_backend_too() -> None:
    with pytest.raises(NablacError, match="there is no backend `foo`"):
        nablac.compile(TEXT).train(backend="foo")

"""Sizes for which a window does not fit are refused before anything runs, on both backends alike."""

from __future__ import annotations

import numpy as np
import pytest

import nablac
from grammar.diagnostics import NablacError

SMALL = {  # of an image 3 x 3, or of a sequence of 3: what is too small, and the least that is enough
    "x -> MaxPool2D(5)": ("`h` is 3, and `max_pool` needs at least 5", 5),
    "x -> AvgPool2D(5)": ("`h` is 3, and `average_pool` needs at least 5", 5),
    "x -> MaxPool2D(2, dilation: 3)": ("`h` is 3, and `max_pool` needs at least 4", 4),
    'x -> Conv2D(2, 5, padding: "valid")': ("`h` is 3, and `conv` needs at least 5", 5),
    'x -> Conv2D(2, 3, padding: "valid") -> MaxPool2D(2)': ("`h` is 3, and `max_pool` needs at least 4", 4),
    "x[:, :, 4:]": ("`h` is 3, and `slice` needs at least 4", 4),
    "mean(x[:, :, 3:], axis: 2)": ("`h` is 3, and `mean` needs at least 4", 4),
    "max(x[:, :, 3:], axis: 2)": ("`h` is 3, and `max` needs at least 4", 4),
    "logsumexp(x[:, :, 4:], axis: 2)": ("`h` is 3, and `slice` needs at least 4", 5),
    "logsumexp(x[:, :, 3:], axis: 2)": ("`h` is 3, and `logsumexp` needs at least 4", 4),
    "argmax(x[:, :, 3:], axis: 2)": ("`h` is 3, and `argmax` needs at least 4", 4),
    "top_k(x, h - 5, axis: 2)[0]": ("`h` is 3, and `top_k` needs at least 5", 6),
    "top_k(x[:, :, 2:], 2, axis: 2)[0]": ("`h` is 3, and `top_k` needs at least 4", 4),
    "x -> ConvTranspose2D(1, 1, padding: 2)": ("`h` is 3, and `conv_transpose` needs at least 5", 5),
}


@pytest.mark.parametrize("backend", ["numpy", "ort"])
@pytest.mark.parametrize("text", SMALL)
def test_an_image_that_is_too_small_is_refused(text: str, backend: str) -> None:
    message, enough = SMALL[text]
    source = f"model M {{\n    input x: [b, 1, h, w]\n    output y = {text}\n}}\n"
    model = nablac.compile(source, backend=backend)
    with pytest.raises(NablacError) as caught:
        model(x=np.ones((2, 1, 3, 3), np.float32))
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message, diagnostic.place) == (
        "E803",
        f"`x` is too small: {message}",
        "input `x`",
    )
    assert diagnostic.note is not None and diagnostic.note.startswith("required at ")
    assert min(model(x=np.ones((2, 1, enough, enough), np.float32))["y"].shape) >= 0


def test_what_fits_once_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nablac.compile("model M {\n    input x: [b, 1, h, w]\n    output y = x -> MaxPool2D(2)\n}\n")
    x = np.ones((1, 1, 4, 4), np.float32)
    expected = model(x=x)["y"]
    monkeypatch.setattr("runtime.size_limits.evaluate", None)
    assert np.array_equal(model(x=x)["y"], expected)

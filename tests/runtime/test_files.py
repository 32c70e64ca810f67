"""Files are written whole or not at all, and nothing that is not to be replaced is."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from grammar.diagnostics import NablacError
from runtime.files import write_bytes
from runtime.weights import save_weights


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to("real")
    write_bytes(tmp_path / "link", b"after")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "after"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_bytes(tmp_path / "pipe", b"content")
    reader.join()
    assert found == [b"content"] and [each.name for each in tmp_path.iterdir()] == ["pipe"]


def test_the_text_of_a_model_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "net.model"
    file.write_text("model M { }")
    (tmp_path / "net.onnx").symlink_to("net.model")
    for name in ("net.model", "net.onnx"):
        with pytest.raises(NablacError) as caught:
            write_bytes(tmp_path / name, b"onnx")
        assert f"{tmp_path / name} is the text of a model, and would be lost" in str(caught.value)
    assert file.read_text() == "model M { }"


def test_what_safetensors_cannot_write_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.numpy

    def full(*_: object) -> None:
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(NablacError) as caught:
        save_weights(tmp_path / "w.safetensors", {"w": np.zeros(3)})
    assert caught.value.diagnostics[0].code == "E904" and "No space left on device" in str(caught.value)
    assert not list(tmp_path.iterdir())

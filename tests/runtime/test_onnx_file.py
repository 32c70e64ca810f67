"""Files of models: what is checked of one that was written, without its weights in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from compiler.onnx.exporter import export
from runtime.onnx_file import check, save
from tests.models import elaborate

TEXT = "model M { input x: [batch, 64]; output x -> Dense(512) }"


@pytest.mark.parametrize("largest", [1 << 20, 1 << 10], ids=["one file", "weights beside it"])
def test_the_checker_reads_the_nodes_of_a_file_and_not_its_weights(
    largest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, weights = written_model()
    written = save(model, tmp_path / "m.onnx", weights, largest=largest)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    sizes: list[int] = []
    checked = onnx.checker.check_model

    def measured(path: str, full_check: bool) -> None:
        sizes.append(Path(path).stat().st_size)
        checked(path, full_check=full_check)

    monkeypatch.setattr(onnx.checker, "check_model", measured)
    check(model, written)
    assert sizes[0] < 2_000 < sum(array.nbytes for array in weights.values())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_the_checker_finds_what_is_wrong(tmp_path: Path) -> None:
    model, weights = written_model()
    model.graph.node[0].op_type = "Unknown"
    with pytest.raises(onnx.checker.ValidationError, match="Unknown"):
        check(model, save(model, tmp_path / "m.onnx", weights))


def written_model() -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    weights = {"dense.W": np.zeros((64, 512), np.float32), "dense.b": np.zeros(512, np.float32)}
    return export(elaborate(TEXT), weights=weights, largest=0), weights

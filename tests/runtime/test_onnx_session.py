"""onnxruntime: names in, names out, and every refusal a diagnostic."""

from __future__ import annotations

import re
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_opkernel_def

import compiler.operators
from compiler.onnx.exporter import export
from compiler.operators.linear import MatMul
from compiler.operators.shaping import Transpose
from compiler.types import DType
from grammar.diagnostics import NablacError
from runtime.onnx_file import move, save
from runtime.onnx_session import OnnxRunner
from tests.models import elaborate
from tests.runtime.graphs import fed, graph, normal, parameter, text_of

TABLE = "model M() {\n    input x: i64[n]\n    param t: [5, 2] = 0\n    y = t[x]\n    output y\n}\n"


def bytes_of(text: str) -> bytes:
    return export(elaborate(text)).SerializeToString()


def test_a_model_may_be_bytes_or_a_file(tmp_path: Path) -> None:
    x = fed("x", "f32", "n")
    proto = export(graph([x], y=x + 1))
    save(proto, tmp_path / "m.onnx")
    for given in (proto.SerializeToString(), tmp_path / "m.onnx", str(tmp_path / "m.onnx")):
        assert OnnxRunner(given).run({"x": [1, 2]})["y"].tolist() == [2, 3]


def test_an_error_while_running_tells_the_line_of_the_model(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = bytes_of(TABLE)
    file = tmp_path / "m.onnx"
    file.write_bytes(content)
    for given in (content, file):
        with pytest.raises(NablacError) as caught:
            OnnxRunner(given).run({"x": [1, 9], "t": np.zeros((5, 2), np.float32)})
        text = text_of(caught)
        assert text.startswith("error[E806]: onnxruntime failed while running the model\n --> test.model:4:9\n")
        assert "idx=9 must be within the inclusive range [-5,4]" in text
    assert capfd.readouterr().err == "", "the error is told once"


def test_an_operator_without_a_kernel_is_told_with_its_line() -> None:
    text = "model M() {\n    input x: [batch]\n    y = erf(x)\n    output y\n}\n"
    proto = export(elaborate(text, dtype=DType.F64))
    with pytest.raises(NablacError) as caught:
        OnnxRunner(proto.SerializeToString())
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.place) == ("E909", "test.model:3:9")
    assert diagnostic.hint is not None and "the NumPy runtime has" in diagnostic.hint


# What onnxruntime's CPU provider computes in f32 and not in f64, of the operators that models are exported to: such a
# model passes the checker, and only the NumPy runtime runs it. LSTM and GRU have kernels in f64, which refuse to run.
LACKS_F64 = {
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Attention", "AveragePool", "Conv", "ConvTranspose", "Cosh"),
    *("Erf", "RNN", "Sinh", "Tan"),
}


def test_the_operators_without_a_kernel_in_f64_are_known() -> None:
    kernels: dict[str, set[str]] = {}
    for kernel in get_all_opkernel_def():
        if kernel.domain == "" and kernel.provider == "CPUExecutionProvider":
            types = {type for allowed in kernel.type_constraints.values() for type in allowed}
            kernels.setdefault(kernel.op_name, set()).update(types)
    text = Path(compiler.operators.__path__[0])
    ours = {name for file in text.glob("*.py") for name in re.findall(r'"([A-Z]\w+)"', file.read_text("utf-8"))}
    floats = {name for name in ours & kernels.keys() if "tensor(float)" in kernels[name]}
    # Made of others in f64, or an activation of RNN and not an operator.
    single = {"Softplus", "Gelu", "HardSigmoid", "InstanceNormalization", "Col2Im", "LeakyRelu", "Softsign"}
    single |= {"RotaryEmbedding", "QuantizeLinear", "DequantizeLinear"}
    assert {name for name in floats if "tensor(double)" not in kernels[name]} == LACKS_F64 | single


@pytest.mark.parametrize("content", [b"", b"xx", b"\x08\x0a", b"not a model at all" * 100])
def test_what_is_no_model_is_told(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(content)
    for given in (content, file):
        with pytest.raises(NablacError) as caught:
            OnnxRunner(given)
        assert caught.value.diagnostics[0].code == "E909"


def test_a_model_cut_off_is_told() -> None:
    content = bytes_of(TABLE)
    for length in (len(content) // 3, len(content) - 1):
        with pytest.raises(NablacError):
            OnnxRunner(content[:length])


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(NablacError) as caught:
        OnnxRunner(tmp_path / "none.onnx")
    assert caught.value.diagnostics[0].code == "E901"


def test_a_device_that_is_not_there_is_an_error_and_no_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    x = fed("x", "f32", "n")
    content = export(graph([x], y=x + 1)).SerializeToString()
    with pytest.raises(NablacError) as caught:
        OnnxRunner(content, device="tpu")
    assert caught.value.diagnostics[0].code == "E910"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(NablacError) as caught:
        OnnxRunner(content, device="cuda")
    assert text_of(caught).startswith("error[E910]: there is no device `cuda` here: onnxruntime")


def test_bf16_goes_in_and_comes_out() -> None:
    x = fed("x", "bf16", "n", 2)
    array = normal(3, 2).astype(ml_dtypes.bfloat16)
    found = OnnxRunner(export(graph([x], y=Transpose((1, 0))(x))).SerializeToString()).run({"x": array})["y"]
    assert found.dtype == array.dtype
    assert np.array_equal(found, array.T)


def test_values_stay_on_the_device_from_one_run_to_the_next() -> None:
    w, x = fed("w", "f32", 2), fed("x", "f32", 2)
    runner = OnnxRunner(export(graph([w, x], w_next=w * 0.5 + x, size=x * w)).SerializeToString())
    state, step = runner.value(np.ones(2, np.float32)), runner.value(np.ones(2, np.float32))
    for _ in range(3):
        state = runner.run_values({"w": state, "x": step}, ["w_next"])["w_next"]
    assert runner.array(state).tolist() == [1.875, 1.875]


def test_dims_that_a_file_leaves_open_may_be_anything() -> None:
    info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, "n", 2])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, "n", 2])
    body = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [info], [out])
    proto = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    runner = OnnxRunner(proto.SerializeToString())
    assert runner.run({"x": np.ones((3, 1, 2), np.float32)})["y"].shape == (3, 1, 2)
    with pytest.raises(NablacError):
        runner.run({"x": np.ones((3, 1, 3), np.float32)})


class TestFiles:
    def test_weights_beyond_one_file_lie_beside_it(self, tmp_path: Path) -> None:
        x = fed("x", "f32", "n", 40)
        g = graph([x], y=MatMul()(x, parameter("w", 40, 30)) + parameter("b", 30))
        weights = {"w": normal(40, 30), "b": normal(30)}
        file = tmp_path / "m.onnx"
        whole = export(g, weights=weights).SerializeToString()
        feeds = {"x": normal(2, 40)}
        expected = OnnxRunner(whole).run(feeds)["y"]
        for scale in (1, 2):
            scaled = {"w": scale * weights["w"], "b": scale * weights["b"]}
            written = save(export(g, weights=scaled), file, largest=1000)
            assert sorted(tmp_path.iterdir()) == sorted(written), "the data of the model before is gone"
            onnx.checker.check_model(str(file), full_check=True)
            np.testing.assert_allclose(OnnxRunner(file).run(feeds)["y"], scale * expected, rtol=1e-5)
        assert save(export(g, weights=weights), file) == [file]
        assert np.array_equal(OnnxRunner(file).run(feeds)["y"], expected)

    def test_weights_that_no_proto_can_hold_are_written_from_their_arrays(self, tmp_path: Path) -> None:
        x = fed("x", "f32", "n", 40)
        g = graph([x], y=MatMul()(x, parameter("w", 40, 30)) + parameter("b", 30))
        weights = {"w": normal(30, 40).T, "b": normal(30)}
        feeds = {"x": normal(2, 40)}
        proto = export(g, weights=weights, largest=1000)
        assert all(not tensor.raw_data for tensor in proto.graph.initializer)
        assert len(save(proto, tmp_path / "m.onnx", weights, largest=1000)) == 2
        onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)
        expected = OnnxRunner(export(g, weights=weights).SerializeToString()).run(feeds)["y"]
        assert np.array_equal(OnnxRunner(tmp_path / "m.onnx").run(feeds)["y"], expected)

    def test_weights_that_are_referred_to_go_from_their_arrays_into_one_file(self, tmp_path: Path) -> None:
        x = fed("x", "f32", "n", 40)
        g = graph([x], y=MatMul()(x, parameter("w", 40, 30)) + parameter("b", 30))
        weights = {"w": normal(30, 40).T, "b": normal(30)}
        whole, file = export(g, weights=weights), tmp_path / "m.onnx"
        (tmp_path / f"m.onnx.{'0' * 16}.data").write_bytes(b"of a model that was here before")
        assert save(export(g, weights=weights, largest=0), file, weights) == [file]
        assert list(tmp_path.iterdir()) == [file]
        read = onnx.load_model(str(file))
        tensors = [{each.name: each for each in proto.graph.initializer} for proto in (whole, read)]
        assert tensors[0] == tensors[1]
        assert whole.graph.node == read.graph.node and whole.doc_string == read.doc_string
        onnx.checker.check_model(str(file), full_check=True)

    @pytest.mark.parametrize("largest", [1000, 2**31])
    def test_what_was_written_aside_is_put_in_its_place(self, largest: int, tmp_path: Path) -> None:
        x = fed("x", "f32", "n", 40)
        g = graph([x], y=MatMul()(x, parameter("w", 40, 30)))
        file = tmp_path / "m.onnx"
        for scale in (1, 2):
            (tmp_path / "aside").mkdir()
            weights = {"w": scale * np.ones((40, 30), np.float32)}
            drafts = save(
                export(g, weights=weights, largest=0), tmp_path / "aside" / "m.onnx", weights, largest=largest
            )
            written = move(drafts, file)
            (tmp_path / "aside").rmdir()
            assert sorted(tmp_path.iterdir()) == sorted(written)
            assert OnnxRunner(file).run({"x": np.ones((1, 40), np.float32)})["y"][0, 0] == scale * 40

    def test_a_file_that_cannot_be_written_is_told(self, tmp_path: Path) -> None:
        x = fed("x", "f32", 2)
        for largest in (0, 2**31):
            with pytest.raises(NablacError) as caught:
                save(
                    export(graph([x], y=x + parameter("w", 2)), weights={"w": normal(2)}),
                    tmp_path / "no" / "m.onnx",
                    largest=largest,
                )
            assert caught.value.diagnostics[0].code == "E904"


def test_memory_that_is_not_there_is_told_in_our_words() -> None:
    x = fed("x", "f32", "n")
    runner = OnnxRunner(export(graph([x], y=x + 1)).SerializeToString())
    text = "void* onnxruntime::BFCArena::Allocate(...) Failed to allocate memory for requested buffer of size 4000"
    (diagnostic,) = runner._refusal("E806", "onnxruntime stopped", RuntimeError(text)).diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E810", "not enough memory for a result, of 4,000 bytes")
    assert diagnostic.note is None

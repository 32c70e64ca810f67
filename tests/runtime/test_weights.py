"""Weight files: what is wrong with one is told in full, and nothing of it is ever run."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

import nablac
from compiler.graph import Graph
from compiler.operators.linear import MatMul
from grammar.diagnostics import NablacError
from runtime.rename_rules import read_renames
from runtime.weights import fit_weights, load_weights, read_metadata, read_tensors, save_weights
from tests.runtime.graphs import fed, graph, normal, parameter, text_of


def example() -> Graph:
    x = fed("x", "f32", "n", 2)
    return graph([x], y=MatMul()(x, parameter("dense.W", 2, 3)) + parameter("dense.b", 3))


GOOD = {"dense.W": normal(2, 3), "dense.b": normal(3)}


def saved(path: Path, **arrays: Any) -> Path:
    file = path / "w.safetensors"
    save_weights(file, {name.replace("__", "."): np.asarray(array) for name, array in arrays.items()})
    return file


def npz(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, w=array)
    return buffer.getvalue()


def keras_file() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    return buffer.getvalue()


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u1", "i4", "i8", "?", ml_dtypes.bfloat16], ids=str)
    @pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)], ids=str)
    def test_every_dtype_and_shape_comes_back(self, tmp_path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
        array = np.asarray(normal(*shape) * 2).astype(dtype)
        save_weights(tmp_path / "w.safetensors", {"w": array, "other": np.ones(1)})
        found = read_tensors(tmp_path / "w.safetensors")["w"]
        assert (found.dtype, found.shape) == (array.dtype, shape)
        assert found.tobytes() == array.tobytes()

    def test_arrays_that_do_not_lie_row_by_row_are_saved_as_they_read(self, tmp_path: Path) -> None:
        array = normal(2, 3).T
        save_weights(tmp_path / "w.safetensors", {"w": array})
        assert np.array_equal(read_tensors(tmp_path / "w.safetensors")["w"], array)

    def test_loaded_weights_may_be_written_to(self, tmp_path: Path) -> None:
        found = load_weights(saved(tmp_path, dense__W=GOOD["dense.W"], dense__b=GOOD["dense.b"]), example())
        found["dense.W"][...] = 0

    @pytest.mark.parametrize("dtype", ["f2", "f8", ml_dtypes.bfloat16], ids=str)
    def test_other_floats_become_the_models(self, tmp_path: Path, dtype: Any) -> None:
        arrays = {name.replace(".", "__"): array.astype(dtype) for name, array in GOOD.items()}
        found = load_weights(saved(tmp_path, **arrays), example())
        assert found["dense.W"].dtype == np.float32
        np.testing.assert_allclose(found["dense.W"], GOOD["dense.W"], rtol=1e-2)

    def test_a_file_is_replaced_whole_or_not_at_all(self, tmp_path: Path) -> None:
        file = saved(tmp_path, w=normal(3))
        before = file.read_bytes()
        with pytest.raises(Exception):  # noqa: B017 - whatever the library raises of an object array
            save_weights(file, {"w": np.array([object()])})
        assert file.read_bytes() == before
        assert [each.name for each in tmp_path.iterdir()] == ["w.safetensors"]

    def test_a_folder_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(NablacError) as caught:
            save_weights(tmp_path / "no" / "w.safetensors", GOOD)
        assert caught.value.diagnostics[0].code == "E904"


WHOLE = "this cannot be read as a whole .safetensors file"


def headed(header: bytes, size: int) -> bytes:
    """A file of that header and `size` bytes of tensors."""
    return len(header).to_bytes(8, "little") + header + bytes(size)


class TestMistakes:
    def test_everything_that_does_not_fit_is_one_error(self, tmp_path: Path) -> None:
        x = fed("x", "f32", "n", 2)
        g = graph([x], y=MatMul()(x, parameter("dense.W", 2, 3)) + parameter("dense.b", 3) + parameter("scale", 3))
        file = saved(tmp_path, dense__W=normal(3, 2), dense__bias=normal(3), scale=np.array([1, 2, 3]), junk=normal(7))
        with pytest.raises(NablacError) as caught:
            load_weights(file, g)
        assert caught.value.exit_code == 2
        assert text_of(caught).replace(str(file), "FILE") == (
            "error[E701]: `dense.b`: f32[3] is missing\n --> FILE\nhelp: is it called `dense.bias` there?\n\n"
            "error[E702]: `dense.bias` is not a parameter of test\n --> FILE\nhelp: did you mean `dense.b`?\n\n"
            "error[E702]: `junk` is not a parameter of test\n --> FILE\n"
            "help: `--rename 'junk -> none'` leaves it out\n\n"
            "error[E703]: `dense.W` is f32[3, 2] in the file, and f32[2, 3] in the model\n --> FILE\n"
            "help: turn it by a rename rule before the others: `--rename 'dense.W -> dense.W ^T'`\n\n"
            "error[E704]: `scale` is i64[3] in the file, and f32[3] in the model\n --> FILE"
        )

    def test_a_foreign_name_is_suggested_by_its_shape(self, tmp_path: Path) -> None:
        file = saved(tmp_path, fc__kernel=normal(3, 2), dense__b=normal(3))
        with pytest.raises(NablacError) as caught:
            load_weights(file, example())
        assert "help: `fc.kernel` has its shape: `--rename 'fc.kernel -> dense.W ^T'`" in text_of(caught)

    FILES = {
        "a pickle": (
            pickle.dumps({"w": 1}),
            "E705",
            "a pickled checkpoint, and reading one runs whatever code it holds",
        ),
        "a torch file": (b"PK\x03\x04" + bytes(60), "E705", "a pickled checkpoint"),
        "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "E705", "`git lfs pull`"),
        "an HDF5 file": (b"\x89HDF\r\n\x1a\n", "E705", "this is an HDF5 file"),
        "an .npz file of Python objects": (npz(np.array([{}])), "E705", "it holds Python objects, not numbers"),
        "a .keras file": (keras_file(), "E705", "this is a model of Keras, with its weights in HDF5"),
        "a truncated ONNX file": (b"\x08\x0a\x12\x7f", "E705", "this cannot be read as a whole .onnx file"),
        "an empty file": (b"", "E705", "the file is empty"),
        "an image": (b"\x89PNG\r\n\x1a\n", "E705", "this is an image; expected a .safetensors, .npz or .onnx file"),
        "a text": (
            b"hello, these are no weights at all",
            "E705",
            f"{WHOLE}: its first bytes are not those of the format",
        ),
        "a header beyond the file": (
            b"\xff" * 8 + b"{}",
            "E705",
            f"{WHOLE}: its first bytes are not those of the format",
        ),
        "a header that is cut off": (
            b"\xff" + bytes(7) + b"{}",
            "E705",
            f"{WHOLE}: it is truncated: its header of 255 bytes is not whole",
        ),
        "a few bytes": (b"\xff" + bytes(4), "E705", f"{WHOLE}: it is truncated: it has 5 bytes"),
        "a header that is no JSON": (b"\x04" + bytes(7) + b"nope", "E705", f"{WHOLE}: its header is not JSON"),
        "a header of a list": (b"\x02" + bytes(7) + b"[]", "E705", f"{WHOLE}: its header is not a JSON object"),
        "a dtype that no format has": (
            headed(b'{"w":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}', 8),
            "E705",
            f"{WHOLE}: `w` is of a dtype that the format does not have: F99",
        ),
        "a shape of other bytes": (
            headed(b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', 4),
            "E705",
            f"{WHOLE}: `w` is F32 [2], 8 bytes, and its header gives it 4",
        ),
        "a gap": (
            headed(b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', 8),
            "E705",
            f"{WHOLE}: the bytes of `w` begin at 4, and those before it end at 0",
        ),
        "offsets beyond the file": (
            headed(b'{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', 8),
            "E705",
            f"{WHOLE}: it is truncated: its header declares 16 bytes of tensors; the file has 8",
        ),
    }

    @pytest.mark.parametrize("label", FILES)
    def test_what_is_no_weight_file_is_told(self, label: str, tmp_path: Path) -> None:
        content, code, message = self.FILES[label]
        file = tmp_path / "w.safetensors"
        file.write_bytes(content)
        with pytest.raises(NablacError) as caught:
            load_weights(file, example())
        assert caught.value.diagnostics[0].code == code
        assert message in text_of(caught)

    @pytest.mark.parametrize("name", ["bad.onnx", "bad.pt"])
    def test_a_file_of_no_kind_is_not_called_a_safetensors_file(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(b"\xf3" * 100)
        with pytest.raises(NablacError) as caught:
            read_tensors(tmp_path / name)
        assert text_of(caught).replace(str(tmp_path), "") == (
            "error[E705]: its first bytes are not those of a .safetensors, .npz or .onnx file, nor of a checkpoint of "
            f"PyTorch\n --> /{name}\nhelp: it may be damaged: download or write it again"
        )

    def test_a_pickle_is_not_converted_to_its_own_name(self, tmp_path: Path) -> None:
        (tmp_path / "x.safetensors").write_bytes(pickle.dumps({"w": 1}))
        with pytest.raises(NablacError) as caught:
            read_tensors(tmp_path / "x.safetensors")
        hint = caught.value.diagnostics[0].hint
        assert hint is not None and str(tmp_path / "x-converted.safetensors") in hint

    def test_a_file_cut_anywhere_is_told(self, tmp_path: Path) -> None:
        content = saved(tmp_path, dense__W=GOOD["dense.W"], dense__b=GOOD["dense.b"]).read_bytes()
        file = tmp_path / "cut.safetensors"
        for length in range(0, len(content), 7):
            file.write_bytes(content[:length])
            with pytest.raises(NablacError) as caught:
                load_weights(file, example())
            assert caught.value.diagnostics[0].code == "E705"

    @pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F4"])
    def test_floats_that_no_model_has_are_told(self, dtype: str, tmp_path: Path) -> None:
        header = json.dumps({"dense.b": {"dtype": dtype, "shape": [4], "data_offsets": [0, 2 if dtype == "F4" else 4]}})
        file = tmp_path / "w.safetensors"
        file.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(2 if dtype == "F4" else 4))
        x = fed("x", "f32", "n", 4)
        with pytest.raises(NablacError) as caught:
            load_weights(file, graph([x], y=x + parameter("dense.b", 4)))
        (diagnostic,) = caught.value.diagnostics
        assert diagnostic.code == "E704" and diagnostic.message.startswith("`dense.b` is ")

    def test_a_hint_names_the_entry_of_the_file_and_rules_that_take_none_are_told(self, tmp_path: Path) -> None:
        file = saved(tmp_path, net__dense__W=normal(3, 2), net__dense__b=normal(3))
        with pytest.raises(NablacError) as caught:
            load_weights(file, example(), read_renames(["net.* -> *", "nope.* -> *"]))
        shape, rule = caught.value.diagnostics
        assert shape.hint is not None and "--rename 'net.dense.W -> dense.W ^T'" in shape.hint
        assert (rule.code, rule.message) == ("E706", "`nope.* -> *` matches no entry of the file")
        load_weights(file, example(), read_renames(["net.dense.W -> dense.W ^T", "net.* -> *"]))

    def test_a_misspelt_file_is_suggested(self, tmp_path: Path) -> None:
        save_file(GOOD, tmp_path / "weights.safetensors")
        with pytest.raises(NablacError) as caught:
            load_weights(tmp_path / "weigths.safetensors", example())
        assert "help: did you mean `weights.safetensors`?" in text_of(caught)


class TestFresh:
    def test_what_is_fresh_is_left_out(self) -> None:
        arrays = {**GOOD, "dense.b": normal(7)}
        assert set(fit_weights(arrays, example(), "file", fresh=["*.b"])) == {"dense.W"}
        del arrays["dense.b"]
        assert set(fit_weights(arrays, example(), "file", fresh=["*.b"])) == {"dense.W"}

    def test_what_is_neither_fresh_nor_in_the_file_is_missing(self) -> None:
        with pytest.raises(NablacError) as caught:
            fit_weights({}, example(), "file", fresh=["*.b"])
        assert text_of(caught) == "error[E701]: `dense.W`: f32[2, 3] is missing\n --> file"

    def test_a_pattern_that_matches_nothing_is_told(self) -> None:
        with pytest.raises(NablacError) as caught:
            fit_weights(GOOD, example(), "file", fresh=["head.*"])
        assert text_of(caught) == (
            "error[E613]: `head.*` in `fresh` matches no parameter\nhelp: the parameters are dense.W, dense.b"
        )


def exported(folder: Path, *, beside: str | None = None) -> Path:
    """GOOD as the initialisers of an ONNX file, in a file beside it or in it."""
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in GOOD.items()]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors))
    file = folder / "w.onnx"
    onnx.save(model, file, save_as_external_data=beside is not None, location=beside or "", size_threshold=0)
    return file


FOLDED = (
    "error[E705]: its weights are folded: `conv2d.W.folded` is computed from "
    "conv2d.W, batch_norm.gamma, batch_norm.running_variance\n --> /m.onnx\n"
    "help: compile with `--keep-weights`, or take the weights that it was compiled from"
)


class TestOtherFormats:
    @pytest.mark.parametrize("kind", ["npz", "compressed npz", "onnx", "onnx with a file beside it"])
    def test_weights_are_read(self, kind: str, tmp_path: Path) -> None:
        file = tmp_path / "w.npz"
        if "npz" in kind:
            (np.savez if kind == "npz" else np.savez_compressed)(file, **GOOD)
        else:
            file = exported(tmp_path, beside="w.data" if "beside" in kind else None)
        found = load_weights(file, example())
        assert all(np.array_equal(found[name], array) for name, array in GOOD.items())
        found["dense.W"][...] = 0
        assert read_metadata(file) == {}

    def test_a_model_of_nablac_is_read_again(self, tmp_path: Path) -> None:
        model = nablac.compile("model M { input x: [n, 2, 5]; output y = reshape(x, [n, 10]) -> Dense(3) }\n")
        proto = model.onnx(keep_weights=True)
        assert len(proto.graph.initializer) > len(model.weights)  # the shape is a constant
        (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
        found = load_weights(tmp_path / "m.onnx", model.graph)
        assert found.keys() == model.weights.keys()
        assert all(np.array_equal(found[name], array) for name, array in model.weights.items())

    def test_folded_weights_are_refused(self, tmp_path: Path) -> None:
        text = "model M { input x: [n, 2, 8, 8]; output y = x -> Conv2D(3, 3, bias: false) -> BatchNorm() }\n"
        nablac.compile(text).to_onnx(tmp_path / "m.onnx")
        with pytest.raises(NablacError) as caught:
            read_tensors(tmp_path / "m.onnx")
        assert text_of(caught).replace(str(tmp_path), "") == FOLDED

    @pytest.mark.parametrize("location", ["../w.data", "/etc/hostname"])
    def test_weights_elsewhere_are_not_read(self, location: str, tmp_path: Path) -> None:
        model = onnx.load(exported(tmp_path, beside="w.data"), load_external_data=False)
        for tensor in model.graph.initializer:
            tensor.external_data[0].value = location
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "w.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(NablacError) as caught:
            read_tensors(tmp_path / "deep" / "w.onnx")
        assert caught.value.diagnostics[0].message == f"this model names a file elsewhere: {location}"

    def test_a_file_beside_it_that_is_missing_or_short_is_told(self, tmp_path: Path) -> None:
        file = exported(tmp_path, beside="w.data")
        (tmp_path / "w.data").write_bytes(b"short")
        with pytest.raises(NablacError) as caught:
            read_tensors(file)
        assert caught.value.diagnostics[0].code == "E705"
        (tmp_path / "w.data").unlink()
        with pytest.raises(NablacError) as caught:
            read_tensors(file)
        assert caught.value.diagnostics[0].code == "E903"


class TestShards:
    def index(self, folder: Path, names: dict[str, str]) -> Path:
        path = folder / "model.safetensors.index.json"
        path.write_text(json.dumps({"weight_map": names}))
        return path

    def test_a_model_in_several_files_is_one(self, tmp_path: Path) -> None:
        for number, (name, array) in enumerate(GOOD.items()):
            save_weights(tmp_path / f"part-{number}.safetensors", {name: array})
        path = self.index(tmp_path, {name: f"part-{number}.safetensors" for number, name in enumerate(GOOD)})
        found = load_weights(path, example())
        assert all(np.array_equal(found[name], array) for name, array in GOOD.items())

    def test_a_part_that_is_missing_or_elsewhere_is_told(self, tmp_path: Path) -> None:
        for names, code in (({"a": "gone.safetensors"}, "E901"), ({"a": "../a.safetensors"}, "E705")):
            with pytest.raises(NablacError) as caught:
                load_weights(self.index(tmp_path, names), example())
            assert caught.value.diagnostics[0].code == code
        (tmp_path / "model.safetensors.index.json").write_text("[]")
        with pytest.raises(NablacError) as caught:
            load_weights(tmp_path / "model.safetensors.index.json", example())
        assert caught.value.diagnostics[0].code == "E705"


FOLDERS = {
    "one file": ["w.safetensors", "config.json"],
    "weights beside a pickle": ["pytorch_model.bin", "w.safetensors"],
}
NO_FOLDERS = {
    "nothing": (["config.json"], "E901", "this folder holds no `.safetensors` file"),
    "several files": (["a.safetensors", "b.safetensors"], "E901", "holds 2 files of weights: a.safetensors, b.safe"),
    "more than are shown": ([f"{n}.safetensors" for n in range(5)], "E901", "1.safetensors, 2.safetensors, ..."),
    "a pickle": (["pytorch_model.bin"], "E705", "this is a pickled checkpoint"),
}


class TestFolders:
    @staticmethod
    def fill(folder: Path, names: list[str]) -> None:
        for name in names:
            if name.endswith(".safetensors"):
                save_weights(folder / name, GOOD)
            else:
                (folder / name).write_bytes(b"\x80\x02")

    @pytest.mark.parametrize("label", FOLDERS)
    def test_a_folder_stands_for_the_one_file_of_weights_in_it(self, label: str, tmp_path: Path) -> None:
        self.fill(tmp_path, FOLDERS[label])
        found = load_weights(tmp_path, example())
        assert all(np.array_equal(found[name], array) for name, array in GOOD.items())

    @pytest.mark.parametrize("label", NO_FOLDERS)
    def test_a_folder_of_none_or_several_is_refused(self, label: str, tmp_path: Path) -> None:
        names, code, message = NO_FOLDERS[label]
        self.fill(tmp_path, names)
        with pytest.raises(NablacError) as caught:
            load_weights(tmp_path, example())
        (diagnostic,) = caught.value.diagnostics
        assert diagnostic.code == code and diagnostic.hint is not None
        assert message in text_of(caught)

    def test_its_index_says_which_files_are_one(self, tmp_path: Path) -> None:
        for number, (name, array) in enumerate(GOOD.items()):
            save_weights(tmp_path / f"part-{number}.safetensors", {name: array})
        save_weights(tmp_path / "consolidated.safetensors", {"other": normal(3)})
        names = {name: f"part-{number}.safetensors" for number, name in enumerate(GOOD)}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
        found = load_weights(tmp_path, example())
        assert all(np.array_equal(found[name], array) for name, array in GOOD.items())

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
from runtime.name_patterns import Budget
from runtime.rename_rules import read_rename, read_renames
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
            f"{WHOLE}: its header of 255 bytes is not whole",
        ),
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
            f"{WHOLE}: its header declares 16 bytes of tensors; the file has 8",
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


RULES = {
    "a plain name": ("fc.weight -> dense.W", "fc.weight", "dense.W"),
    "an equals sign": ("fc.weight=dense.W", "fc.weight", "dense.W"),
    "a hole": ("layers.{i}.fc -> block.{i}.dense", "layers.12.fc", "block.12.dense"),
    "two holes exchanged": ("{a}.{b} -> {b}.{a}", "x.y", "y.x"),
    "a hole met twice": ("{a}.{a}.w -> {a}", "x.x.w", "x"),
    "a hole met twice, unequal": ("{a}.{a}.w -> {a}", "x.y.w", None),
    "a hole holds no dot": ("{a}.w -> {a}", "x.y.w", None),
    "a star holds dots": ("*.w -> net.*.W", "x.y.w", "net.x.y.W"),
    "stars and holes": ("*.{i}.* -> {i}/*/*", "a.1.b", "1/a/b"),
    "a regular expression": (r"/layer_(\d+)\.w/ -> layers.\1.W", "layer_3.w", "layers.3.W"),
    "a named group": (r"/layer_(?P<n>\d+)/ -> layers.\g<n>", "layer_3", "layers.3"),
    "signs are signs": ("a+b.(c) -> x", "a+b.(c)", "x"),
    "the whole name counts": ("fc -> dense", "fc2", None),
    "a backslash is a letter": (r"a\b -> c\d", r"a\b", r"c\d"),
    "a number less": ("layer{i}.{j}.w -> block.{i-1}.{j}.W", "layer4.0.w", "block.3.0.W"),
    "a number more": ("h{i} -> layers.{i+10}.{i}", "h9", "layers.19.9"),
    "a number is a number": ("layer{i} -> block.{i-1}", "layerx", None),
    "a group less": (r"/layer(\d+)/ -> block.\g<1-1>", "layer4", "block.3"),
    "a hole holds no slash": ("{a}.w -> {a}", "x/y.w", None),
    "slashes become dots": ("*/kernel -> *.W", "encoder/lstm/kernel", "encoder.lstm.W"),
    "one side of a join": ("{m}.q | {m}.k -> {m}.W", "attention.k", "attention.W"),
    "rules by name": (
        "net.* -> encoder.* by torchvision",
        "net.layer2.0.bn2.bias",
        "encoder.block.1.0.batch_norm_1.beta",
    ),
    "rules by name that do not match": ("net.* -> encoder.* by torchvision", "net.other", None),
    "axes of another number": ("a -> b axes: [0, 2, 1]", "a", None),
}


NO_RULES = [
    "a -> b axes: [0, 2]",
    "a -> b axes: [0, 0]",
    "a | b -> c | d",
    "a | b -> none",
    "a{i+1} -> b",
    "a.* -> b.* by nothing",
    "a.b -> b by pytorch",
    "a.* -> b.* ^T by pytorch",
    "->",
    "a ->",
    "-> b",
    "a -> b -> c",
    "a=b=c",
    "a -> {i}",
    "{i} -> {j}",
    "a -> *",
    "* -> **",
    "/(/ -> b",
]


def paths_of(rule: str, name: str, rank: int = 2) -> tuple[str, ...] | None:
    """The paths of an entry by a rule; None if it does not match."""
    return next((each.paths for each in read_rename(rule).assignments(name, rank, Budget())), None)


class TestRenames:
    @pytest.mark.parametrize("label", RULES)
    def test_a_rule_gives_a_path(self, label: str) -> None:
        rule, name, path = RULES[label]
        assert paths_of(rule, name) == (None if path is None else (path,))

    @pytest.mark.parametrize("rule", [*NO_RULES, r"/a/ -> \1", "a" * 2000 + " -> b"])
    def test_what_is_no_rule_is_told(self, rule: str) -> None:
        with pytest.raises(NablacError) as caught:
            read_renames([rule])
        assert caught.value.diagnostics[0].code == "E706"

    def test_a_file_of_rules_is_read_and_its_lines_are_told(self, tmp_path: Path) -> None:
        file = tmp_path / "rules.txt"
        file.write_text("# from torch\n\nfc.weight -> dense.W ^T   # stored the other way\nfc.bias -> dense.b\n")
        rules = read_renames([str(file)])
        assert [rule.layout.turned for rule in rules] == [True, False]
        weights = saved(tmp_path, fc__weight=GOOD["dense.W"].T, fc__bias=GOOD["dense.b"])
        found = load_weights(weights, example(), rules)
        assert all(np.array_equal(found[name], array) for name, array in GOOD.items())
        file.write_text("a -> b\nnonsense\n")
        with pytest.raises(NablacError) as caught:
            read_renames([str(file)])
        assert f" --> {file}:2" in text_of(caught)

    def test_a_file_that_is_not_there_is_told(self) -> None:
        with pytest.raises(NablacError) as caught:
            read_renames(["rules.txt"])
        assert "there is no file of rename rules rules.txt" in text_of(caught)

    def test_the_first_rule_that_fits_counts(self, tmp_path: Path) -> None:
        rules = read_renames(["fc.weight -> dense.W", "fc.* -> dense.b"])
        weights = saved(tmp_path, fc__weight=GOOD["dense.W"], fc__bias=GOOD["dense.b"])
        assert set(load_weights(weights, example(), rules)) == {"dense.W", "dense.b"}

    def test_two_entries_that_become_one_are_told(self, tmp_path: Path) -> None:
        weights = saved(tmp_path, a__w=GOOD["dense.W"], b__w=GOOD["dense.W"])
        with pytest.raises(NablacError) as caught:
            load_weights(weights, example(), read_renames(["*.w -> dense.W"]))
        assert "`a.w` and `b.w` both become `dense.W`" in text_of(caught)


X = np.arange(24.0, dtype=np.float32)
A, B, C, D = X[:12].reshape(3, 4), X[12:].reshape(3, 4), X[:8].reshape(2, 4), X[8:].reshape(4, 4)
LAYOUTS: dict[str, tuple[str, dict[str, Any], Any]] = {  # by label: the rules, the entries, the weight `p`
    "axes in another order": (
        "a -> p axes: [3, 2, 0, 1]",
        {"a": X.reshape(1, 2, 3, 4)},
        np.einsum("abcd->dcab", X.reshape(1, 2, 3, 4)),
    ),
    "two entries joined": ("a | b -> p", {"a": A, "b": B}, np.hstack([A, B])),
    "joined in the order of the rule": ("d | c -> p axis: 0", {"c": C, "d": D}, np.vstack([D, C])),
    "turned, then joined": ("a | b -> p ^T axis: 0", {"a": A, "b": B}, np.vstack([A.T, B.T])),
    "one added to a join": ("a | b -> p; c -> +p", {"a": X[:2], "b": X[2:5], "c": X[5:10]}, X[:5] + X[5:10]),
    "flattened": ("a -> p flat", {"a": X.reshape(4, 6)}, X),
}


class TestLayouts:
    @pytest.mark.parametrize("label", LAYOUTS)
    def test_a_rule_arranges_an_entry(self, label: str) -> None:
        rules, arrays, expected = LAYOUTS[label]
        g = graph([], y=parameter("p", *expected.shape))
        weights = fit_weights(arrays, g, "file", [read_rename(rule) for rule in rules.split("; ")])
        assert np.array_equal(weights["p"], expected)

    def test_a_part_of_any_axis(self) -> None:
        g = graph([], y=parameter("p", 2, 2, 3) + parameter("q", 2, 2, 3))
        a = X.reshape(2, 4, 3)
        weights = fit_weights({"a": a}, g, "file", [read_rename("a -> p | q axis: 1")])
        assert np.array_equal(weights["p"], a[:, :2]) and np.array_equal(weights["q"], a[:, 2:])

    def test_the_first_rule_whose_paths_the_model_has_applies(self) -> None:
        g = graph([], y=parameter("net.p", 4) + parameter("other.q", 4))
        rules = read_renames(["*.w -> *.p", "*.w -> *.q"])
        notes: list[Any] = []
        weights = fit_weights({"net.w": X[:4], "other.w": X[4:8]}, g, "file", rules, say=notes.append)
        assert np.array_equal(weights["net.p"], X[:4]) and np.array_equal(weights["other.q"], X[4:8])
        assert not notes

    REFUSED = {
        "parts that differ": (
            ["a | b -> p"],
            {"a": X[:6].reshape(2, 3), "b": X[:12].reshape(3, 4)},
            "error[E706]: cannot join `a`, [2, 3], and `b`, [3, 4], along axis -1\n --> --rename\n"
            "help: they may differ along that axis only: `axis: 0` at the end of the rule joins along the first",
        ),
        "a part that is missing": (
            ["a | b -> p"],
            {"b": X[:6]},
            "error[E706]: `p` joins 2 entries, and the file has only `b`\n --> file\nhelp: the rule is `a | b -> p`",
        ),
        "two of one part": (
            ["{m}.a | {m}.b -> p"],
            {"x.a": X[:6], "y.a": X[:6]},
            "error[E706]: `x.a` and `y.a` both become `p`\n --> file\nhelp: give them different paths",
        ),
        "a negative number": (
            ["layer{i} -> block.{i-1}"],
            {"layer0": X[:6]},
            "error[E706]: `layer{i} -> block.{i-1}` does not count for `layer0`: it would be -1\n --> --rename\n"
            "help: as in `layers.{i}.fc.weight -> block.{i}.dense.W ^T`",
        ),
        "a shape after a rule": (
            ["a -> p | p.q ^T axis: 0"],
            {"a": X.reshape(4, 6)},
            "error[E702]: `a`, renamed to `p.q`, is not a parameter of test\n --> file\nhelp: `--rename 'a -> none'` "
            "leaves it out\n\n"
            "error[E703]: `p` is f32[3, 4] by its rename rule, and f32[5, 5] in the model\n --> file\n"
            "  = the rule is `a -> p | p.q ^T axis: 0`; in the file `a` is f32[4, 6]",
        ),
        "a kernel of Keras": (
            ["a -> p"],
            {"a": np.zeros((5, 5, 3, 2), np.float32)},
            "error[E703]: `p` is f32[5, 5, 3, 2] in the file, and f32[2, 3, 5, 5] in the model\n --> file\n"
            "help: turn it by a rename rule before the others: `--rename 'a -> p axes: [3, 2, 0, 1]'`",
        ),
    }

    @pytest.mark.parametrize("label", REFUSED)
    def test_what_does_not_fit_is_told(self, label: str) -> None:
        rules, arrays, text = self.REFUSED[label]
        shape = (2, 3, 5, 5) if "Keras" in label else (5, 5)
        with pytest.raises(NablacError) as caught:
            fit_weights(arrays, graph([], y=parameter("p", *shape)), "file", read_renames(rules))
        assert text_of(caught) == text

    def test_of_shipped_rules_only_those_of_which_none_match_are_told(self) -> None:
        g = graph([], y=parameter("dense.W", 2, 3))
        notes: list[Any] = []
        fit_weights(
            {"dense.weight": X[:6].reshape(3, 2)},
            g,
            "file",
            read_renames(["pytorch", "keras", "a -> b"]),
            say=notes.append,
        )
        assert notes == ["note: file: `keras`, `a -> b` match no entry of the file"]

    def test_a_misspelt_name_of_rules_is_suggested(self) -> None:
        with pytest.raises(NablacError) as caught:
            read_renames(["pytorhc"])
        assert text_of(caught) == (
            "error[E706]: there is no file of rename rules pytorhc\n --> --rename\nhelp: did you mean `pytorch`?"
        )


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
        model = nablac.compile("model M { input x: [n, 2]; output y = x -> Dense(3) }\n")
        (tmp_path / "m.onnx").write_bytes(model.onnx(keep_weights=True).SerializeToString())
        found = load_weights(tmp_path / "m.onnx", model.graph)
        assert found.keys() == model.weights.keys()
        assert all(np.array_equal(found[name], array) for name, array in model.weights.items())

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

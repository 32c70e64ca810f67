"""What a file must not do: run code, leave its package, never end, expand without limit, take unbounded time."""

from __future__ import annotations

import gzip
import json
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from runtime import boundary
from tests.hostile import forked
from tests.hostile.formats import (
    DENSE,
    PICTURE,
    PIXELS,
    RUN,
    SAME,
    TOKENS,
    TRAIN,
    WEIGHTS,
    X,
    classified,
    npy,
    npz,
    onnx_model,
    png,
    trained,
)

for needed in ("PIL", "pyarrow", "tokenizers"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked, with limits of Linux")

Content = bytes | str | Callable[[Path], None]
COLUMNS = ' -> columns(inputs: ["a"], targets: ["b"])'
LONG = "a" * 300
ARRAYS = {"m.model": classified("4", 'npz("d.npz")')}


def claims(shape: str) -> bytes:
    """A `.npy` file without data whose header claims a shape."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header


def zipped(**entries: bytes) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def broken_zip() -> bytes:
    whole = bytearray(zipped(image=npy(np.random.default_rng(0).normal(size=(64, 4))), label=npy(np.arange(64) % 3)))
    whole[60:90] = bytes(byte ^ 255 for byte in whole[60:90])
    return bytes(whole)


def weights(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def of_data(source: str) -> dict[str, Content]:
    return {"m.model": trained(source + COLUMNS)}


def metadata_of(**changes: object) -> dict[str, Content]:
    """Weights with the metadata that `nablac train` writes, except for these changes."""
    column = {"offset": 1.0, "scale": 2.0}
    data = {"scalings": {"x": column}, "classes": {}, "labels": [], "columns": {}, "tokenizer": None, "step": 3}
    header = {
        "__metadata__": {"nablac.trained": json.dumps({**data, **changes})},
        "dense.W": {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]},
        "dense.b": {"dtype": "F32", "shape": [2], "data_offsets": [32, 40]},
    }
    return loaded(weights(header, bytes(40)))


def loaded(content: bytes, **beside: Content) -> dict[str, Content]:
    return {"m.model": DENSE, "x.npy": npy(X), "w": content, **beside}


def index(text: str) -> dict[str, Content]:
    return {"m.model": DENSE, "x.npy": npy(X), "w/m.safetensors.index.json": text}


def expression(pattern: str) -> str:
    """A `tokenizer.json` that splits texts by a regular expression."""
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    model = {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"}
    return json.dumps({"version": "1.0", "added_tokens": [], "pre_tokenizer": split, "model": model})


MANY_A = {"layers.0." + "a" * 60 + ".weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
ESCAPED = {"\x1b[31mdense.W": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
OF_A = TOKENS % 'text("d.txt") -> tokens(length: 4, kind: "t.json")'
CHECK = ("check", "m.model")

# By what is tried: the files, the command, the code that it gets, and what it says.
CASES: dict[str, tuple[dict[str, Content], tuple[str, ...], str, str]] = {
    "a package beside the model": (
        {**of_data('csv("package:payload.x/y")'), "payload.py": 'open("RAN", "w")'},
        TRAIN,
        "E820",
        "no package",
    ),
    "a pattern in one": (
        {**of_data('csv("package:payload/*")'), "payload/__init__.py": 'open("RAN", "w")'},
        TRAIN,
        "E820",
        "no package",
    ),
    "a package of the current folder": (
        {**of_data('csv("package:payload/d.csv")'), "payload/d.csv": "a,b\n1,2\n"},
        TRAIN,
        "E820",
        "no package",
    ),
    "a way out of a package": (of_data('csv("package:numpy/../../../etc/passwd")'), TRAIN, "E820", "leads out of"),
    "a package of 2000 dots": (of_data(f'csv("package:{"a." * 2000}b/c")'), TRAIN, "E820", "no package"),
    "a name of 300 letters": (of_data(f'csv("{LONG}")'), TRAIN, "E820", "there is no file"),
    "an import of 300 letters": ({"m.model": f'from "{LONG}.model" import k\n'}, CHECK, "E203", "there is no file"),
    "a loop of links": (
        {**of_data('csv("l")'), "l": lambda path: os.symlink("l", path)},
        TRAIN,
        "E820",
        "there is no file",
    ),
    "an import of a loop of links": (
        {"m.model": 'from "l.model" import k\n', "l.model": lambda path: os.symlink("l.model", path)},
        CHECK,
        "E203",
        "there is no file",
    ),
    "a pipe": ({**of_data('csv("f")'), "f": os.mkfifo}, TRAIN, "E914", "not a file"),
    "a pipe of arrays": ({"m.model": trained('npz("f")'), "f": os.mkfifo}, TRAIN, "E914", "not a file"),
    "a pipe of weights": ({**loaded(b""), "f": os.mkfifo}, (*WEIGHTS, "f"), "E914", "not a file"),
    "a device": (of_data('csv("/dev/zero")'), TRAIN, "E914", "not a file"),
    "a device as a tokenizer": (
        {"m.model": "model M { input t: i64[batch, n]\n output t + 1 }"},
        (*RUN, "a text", "--tokenizer", "/dev/zero"),
        "E914",
        "not a file",
    ),
    "a pattern of a folder": (of_data('csv("*x")'), TRAIN, "E820", "there is no file"),
    "a header that claims 3 TB": (
        {"m.model": SAME, "x.npy": claims("(750_000_000_000,)")},
        (*RUN, "x.npy"),
        "E807",
        "its header declares 3,000,000,000,000 bytes",
    ),
    "an entry that claims 3 TB": (
        {**ARRAYS, "d.npz": zipped(image=claims("(750_000_000_000,)"))},
        TRAIN,
        "E821",
        "its header declares 3,000,000,000,000 bytes",
    ),
    "a negative shape": ({"m.model": SAME, "x.npy": claims("(-1,)")}, (*RUN, "x.npy"), "E807", "the shape [-1]"),
    "pickled objects": (
        {**ARRAYS, "d.npz": npz(image=np.array([None] * 4), label=np.arange(4))},
        TRAIN,
        "E821",
        "Python objects",
    ),
    "damaged packed data": ({**ARRAYS, "d.npz": broken_zip()}, TRAIN, "E821", "cannot be read as an .npz"),
    "an .npz of gigabytes": (
        {**ARRAYS, "d.npz": zipped(image=npy(np.zeros((2 << 20, 4), np.float32)))},
        TRAIN,
        "E913",
        "unpacks to",
    ),
    "a CSV of gigabytes": (
        {**of_data('csv("d.csv.gz")'), "d.csv.gz": gzip.compress(b"a,b\n" + b"1,2\n" * (4 << 20))},
        TRAIN,
        "E913",
        "unpacks to",
    ),
    "a picture of 9,500 by 9,500": (
        {"m.model": PICTURE, "d.png": png(struct.pack(">II", 9_500, 9_500) + PIXELS[8:])},
        (*RUN, "d.png"),
        "E913",
        "9,500 x 9,500 pixels",
    ),
    "a picture of 60,000 by 60,000": (
        {"m.model": PICTURE, "d.png": png(struct.pack(">II", 60_000, 60_000) + PIXELS[8:])},
        (*RUN, "d.png"),
        "E821",
        "pixels",
    ),
    "a .py of 100,000 signs": (
        {"m.model": TOKENS % 'text("d.py") -> characters(length: 4)', "d.py": "-" * 100_000 + "1"},
        TRAIN,
        "E821",
        "Python",
    ),
    "a .py of 50,000 terms": (
        {"m.model": TOKENS % 'text("d.py") -> characters(length: 4)', "d.py": "+".join(["1"] * 50_000)},
        TRAIN,
        "E821",
        "Python",
    ),
    "a .po of comments": (
        {"m.model": TOKENS % 'pairs("d.po") -> tokens(length: 4)', "d.po": "#a\n" * 100_000},
        TRAIN,
        "E823",
        "holds no pairs",
    ),
    "a cell of 200,000 letters": (
        {"m.model": SAME, "d.csv": "1" * 200_000},
        (*RUN, "d.csv"),
        "E821",
        "a cell has more than 131,072 characters",
    ),
    "JSON of 100,000 brackets": ({"m.model": SAME, "d.json": "[" * 100_000}, (*RUN, "d.json"), "E807", "too deeply"),
    "an index of itself": (
        index('{"weight_map": {"a": "m.safetensors.index.json"}}'),
        (*WEIGHTS, "w"),
        "E705",
        "names an index",
    ),
    "an index of no name": (index('{"weight_map": {"a": ""}}'), (*WEIGHTS, "w"), "E705", "elsewhere"),
    "an index of a long name": (
        index(f'{{"weight_map": {{"a": "{LONG}"}}}}'),
        (*WEIGHTS, "w"),
        "E901",
        "there is no file",
    ),
    "an index of 100,000 brackets": (index("[" * 100_000), (*WEIGHTS, "w"), "E705", "too deeply"),
    "an expression of many ways": (
        loaded(weights(MANY_A, bytes(4))),
        (*WEIGHTS, "w", "--rename", "/layers\\.\\d+\\.(a+)+$/ -> x"),
        "E702",
        "is not a parameter",
    ),
    "a pattern of 25 stars": (
        loaded(weights(MANY_A, bytes(4))),
        (*WEIGHTS, "w", "--rename", "*" * 25 + "! -> x"),
        "E702",
        "is not a parameter",
    ),
    "a repetition of 10 ** 11": (
        loaded(b""),
        (*WEIGHTS, "w", "--rename", "/a{99999999999}/ -> x"),
        "E706",
        "too large",
    ),
    "an expression of a tokenizer": (
        {"m.model": OF_A, "t.json": expression("(a+)+$"), "d.txt": "a" * 5000 + "!"},
        TRAIN,
        "E850",
        "nests one repetition in another",
    ),
    "an entry named with an escape": (loaded(weights(ESCAPED)), (*WEIGHTS, "w"), "E702", "\\x1b[31mdense.W"),
    "an escape in an assertion": (
        {"m.model": 'model M { input x: [batch]\n assert false, "\x1b[31mred\x07"\n output x }'},
        CHECK,
        "E501",
        "\\x1b[31mred\\x07",
    ),
    "a turned assertion": (
        {"m.model": 'model M { input x: [batch]\n assert false, "\u202e abc"\n output x }'},
        CHECK,
        "E501",
        "\\u202e abc",
    ),
    "a name of a million letters": (
        {"m.model": f"model M {{ input x: [batch]\n output {'n' * 10**6} }}"},
        CHECK,
        "E201",
        "nnn...nnn",
    ),
    "metadata that is no JSON": (
        {"m.onnx": onnx_model(b"["), "x.npy": npy(X)},
        ("run", "m.onnx", "x.npy"),
        "E915",
        "nablac.classes",
    ),
    "metadata of brackets": (
        {"m.onnx": onnx_model(b"[" * 10_000), "x.npy": npy(X)},
        ("run", "m.onnx", "x.npy"),
        "E915",
        "too deeply",
    ),
    "metadata of numbers": (
        {"m.onnx": onnx_model(b"[1]"), "x.npy": npy(X)},
        ("run", "m.onnx", "x.npy"),
        "E915",
        "1 is not a text",
    ),
    "metadata of halves of characters": (
        {"m.onnx": onnx_model(b'["\\ud800", "b", "c", "d"]'), "x.npy": npy(X)},
        ("run", "m.onnx", "x.npy"),
        "E915",
        "surrogates",
    ),
    **{
        f"weights that say {label}": (metadata_of(**changes), (*WEIGHTS, "w"), "E827", says)
        for label, changes, says in [
            ("a scale of 0", {"scalings": {"x": {"offset": 0, "scale": 0}}}, "a finite number above 0"),
            ("a scale of NaN", {"scalings": {"x": {"offset": 0, "scale": np.nan}}}, "a finite number above 0"),
            ("an infinite offset", {"scalings": {"x": {"offset": np.inf, "scale": 1}}}, "not finite"),
            ("an offset beyond floats", {"scalings": {"x": {"offset": 10**400, "scale": 1}}}, "too large"),
            ("another shape of the scale", {"scalings": {"x": {"offset": [0, 0], "scale": 1}}}, "differ in shape"),
            ("labels that are a text", {"labels": "abc"}, "is not a list"),
            ("columns of numbers", {"columns": {"x": [1]}}, "1 is not a text"),
            ("a tokenizer that is a number", {"tokenizer": 7}, "its tokenizer is not a text"),
            ("a step beyond integers", {"step": 10**400}, "its step"),
            ("a step that is a text", {"step": "3"}, "its step"),
            ("no scalings", {"scalings": None}, "NoneType"),
        ]
    },
    "outputs of 16 GB": (
        {"m.model": "model M { input x: [batch, 4]\n output expand(x, [10 ** 9, batch, 4])\n}"},
        ("compile", "m.model"),
        "E810",
        "not enough memory",
    ),
    "20,000 outputs": (
        {"m.model": "model M { input x: [batch]\n" + "".join(f" output o{n} = x + {n}\n" for n in range(20_000)) + "}"},
        ("compile", "m.model"),
        "E504",
        "work budget exceeded",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _preloaded() -> None:
    forked.preload()


@pytest.mark.parametrize("label", CASES)
def test_a_hostile_file_is_refused(label: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "PACKED_FREE", 1 << 20)  # so that small files exceed it
    files, arguments, code, says = CASES[label]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if callable(content):
            content(tmp_path / name)
        else:
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as with `python -m nablac` and in scripts
    ended = forked.run(list(arguments), tmp_path)
    assert ended.fault is None, ended
    assert f"error[{code}]" in ended.errors and says in ended.errors, ended.errors
    assert len(ended.errors) < 10_000
    assert not (tmp_path / "RAN").exists()


def test_an_image_with_a_text_of_80_mb_is_refused(tmp_path: Path) -> None:
    text = b"k\0\0" + zlib.compress(bytes(80_000_000), 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    whole = png(PIXELS)
    end = 8 + 25  # of the signature and the header
    (tmp_path / "d.png").write_bytes(whole[:end] + chunk + whole[end:])
    (tmp_path / "m.model").write_text(PICTURE)
    ended = forked.run([*RUN, "d.png"], tmp_path)
    assert ended.fault is None and "error[E821]" in ended.errors


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])
def test_weights_whose_header_begins_like_a_pickle_are_read(length: int, tmp_path: Path) -> None:
    header = {
        "dense.W": {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]},
        "dense.b": {"dtype": "F32", "shape": [2], "data_offsets": [32, 40]},
    }
    (tmp_path / "w").write_bytes(weights(json.dumps(header).encode().ljust(length), bytes(40)))
    (tmp_path / "x.npy").write_bytes(npy(X))
    (tmp_path / "m.model").write_text(DENSE)
    ended = forked.run([*WEIGHTS, "w"], tmp_path)
    assert ended.status == 0, ended.errors


@pytest.mark.parametrize(
    ("value", "dtype", "says"),
    [(np.nan, "f4", "holds NaN: 8 of 8"), (1e300, "f8", "holds 1e+300 at [0, 0], beyond f32")],
)
def test_weights_that_are_not_finite_are_refused(value: float, dtype: str, says: str, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"dense.W": np.full((4, 2), value, dtype), "dense.b": np.zeros(2, dtype)}, tmp_path / "w")
    (tmp_path / "x.npy").write_bytes(npy(X))
    (tmp_path / "m.model").write_text(DENSE)
    ended = forked.run([*WEIGHTS, "w"], tmp_path)
    assert ended.status == 2 and "error[E704]" in ended.errors and says in ended.errors


def test_a_stream_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "LARGEST_STREAM", 1 << 20)
    with pytest.raises(boundary.NablacError, match="E913"):
        boundary.read_stream(Path("/dev/zero"))

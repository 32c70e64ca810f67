"""A valid file of each format that the project reads, the command that reads it, and how its content is packed."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DENSE = "model M { input x: [batch, 4]\n output x -> Dense(2)\n}\n"
LOOKUP = "model M { input t: i64[batch, n]\n output t -> Embedding(9, 2)\n}\n"
SAME = "model M { input x: [batch, 2]\n output x + 1\n}\n"
PICTURE = "model M { input x: [batch, 3, 8, 8]\n output mean(x)\n}\n"
ROWS = 'csv("{}") -> columns(inputs: ["a"], targets: ["b"])'
TOKENS = (
    "model M { input tokens: i64[batch, length]\n logits = tokens -> Embedding(300, 4) -> Dense(300)\n"
    " output logits }\n"
    "train M { target label: i64[batch, length]\n loss cross_entropy(logits, label)\n epochs 1\n batch 4\n data %s\n}\n"
)
PAIRS = (
    "model M { input tokens: i64[batch, length]\n y = mean(tokens -> Embedding(300, 4), 1) -> Dense(12)\n output y }\n"
    "train M { target label: i64[batch]\n loss cross_entropy(y, label)\n epochs 1\n batch 4\n data %s\n}\n"
)
SENTENCES = "the cat sat on the mat\nthe dog ran after the cat\na bird sang in the tree\n"


def trained(data: str) -> str:
    """A regression model with a train block."""
    return (
        "model M { input x: [batch, 1]\n y = x -> Dense(1)\n output y }\n"
        f"train M {{ target t: [batch, 1]\n loss mse(y, t)\n epochs 1\n data {data}\n}}\n"
    )


def classified(shape: str, data: str) -> str:
    """A classification model with a train block."""
    return (
        f"model M {{ input image: [batch, {shape}]\n y = image -> Flatten() -> Dense(3)\n output y }}\n"
        f"train M {{ target label: i64[batch]\n loss cross_entropy(y, label)\n epochs 1\n data {data}\n}}\n"
    )


@dataclass(frozen=True)
class Format:
    """A file `name` with `content` that a command reads, and files beside it. `seal` repacks damaged content."""

    name: str
    content: bytes
    arguments: tuple[str, ...]
    beside: dict[str, bytes | str]
    inside: bytes | None = None
    seal: Callable[[bytes], bytes] = bytes
    prepare: Callable[[Path], None] | None = None

    def write(self, folder: Path, content: bytes) -> None:
        """Write the file with this content, and the files beside it."""
        if self.prepare is not None:
            self.prepare(folder)
        for name, text in {**self.beside, self.name: content}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)


TRAIN = ("train", "m.model", "--dry-run")
RUN = ("run", "m.model")
WEIGHTS = ("run", "m.model", "x.npy", "--weights")


def npy(array: np.ndarray) -> bytes:  # type: ignore[type-arg]
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays: np.ndarray) -> bytes:  # type: ignore[type-arg]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 4)
LABELS = np.arange(16) % 3
CSV = b"a,b\n" + b"".join(b"%d,%d.5\n" % (number, 2 * number) for number in range(20))
IDX = b"\0\0\x08\x03" + struct.pack(">3I", 6, 4, 4) + bytes(range(96))
IDX_LABELS = b"\0\0\x08\x01" + struct.pack(">I", 6) + bytes([0, 1, 2, 0, 1, 2])
PO = 'msgid ""\nmsgstr "x"\n\n' + "".join(
    f'#: a.py:{n}\nmsgid "word {n} of {n}"\nmsgstr "mot {n} de {n}"\n\n' for n in range(12)
)
PYTHON = "topics = {'a': '''one two three\nfour five''', 'b': 'six\\nseven eight nine'}\n" * 4
RULES = "# from another\nfc.weight -> dense.W ^T\n/fc\\.(b)ias/ -> dense.\\1\nlayers.{i}.* -> none\n"


def packed_npz(inner: bytes) -> bytes:
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", inner)
        archive.writestr("label.npy", npy(LABELS))
    return buffer.getvalue()


def png(pixels: bytes) -> bytes:
    """An image of 8 by 8 pixels, whose content begins after the width and the height."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header, text, rest = pixels[:13], pixels[13:40], pixels[40:]
    parts = chunk(b"IHDR", header) + chunk(b"tEXt", text) + chunk(b"IDAT", zlib.compress(rest)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


PIXELS = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0) + b"Comment\0a picture of a cat " + bytes([0, *range(24)]) * 8


def jpeg() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.frombytes("RGB", (8, 8), bytes(range(192))).save(buffer, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    return buffer.getvalue()


def parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"a": np.arange(20.0), "b": np.arange(20)}), buffer)
    return buffer.getvalue()


def safetensors() -> bytes:
    from safetensors.numpy import save

    return bytes(save({"dense.W": X[:4, :2], "dense.b": X[0, :2]}))


def resealed_safetensors(header: bytes) -> bytes:
    whole = safetensors()
    length = int.from_bytes(whole[:8], "little")
    return struct.pack("<Q", len(header)) + header + whole[8 + length :]


def safetensors_header() -> bytes:
    whole = safetensors()
    return whole[8 : 8 + int.from_bytes(whole[:8], "little")]


def onnx_model(metadata: bytes = b'["a", "b", "c", "d"]') -> bytes:
    import onnx
    from onnx import helper

    value = [helper.make_tensor_value_info(name, 1, ["n", 4]) for name in "xy"]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Add", ["z", "b"], ["y"])]
    held = [onnx.numpy_helper.from_array(X[:4], "w"), onnx.numpy_helper.from_array(X[0], "b")]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    for key in ("nablac.classes", "nablac.places"):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, metadata.decode("utf-8", "replace") if key == "nablac.classes" else '{"x": 9}'
    return bytes(model.SerializeToString())


def tokenizer() -> bytes:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}{1,3}|[^\s\p{L}\p{N}]+"), "isolated")
    tokenizer.train_from_iterator([SENTENCES], trainers.BpeTrainer(vocab_size=60, special_tokens=["<pad>", "<unk>"]))
    return tokenizer.to_str().encode()


VOCAB = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\n##s\nsat\ndog\n"


def _begun(folder: Path) -> None:
    """A run of two epochs, trained once and copied."""
    from tests.hostile.forked import run

    template = folder.parent / "template"
    if not template.is_dir():
        template.mkdir()
        (template / "m.model").write_text(trained(ROWS.format("d.csv")))
        (template / "d.csv").write_bytes(CSV)
        ended = run(["train", "m.model", "-o", "r", "-q"], template)
        assert ended.status == 0, ended.errors
    shutil.copytree(template, folder, dirs_exist_ok=True)


def sealed_metadata(whole: bytes, key: str) -> tuple[bytes, Callable[[bytes], bytes]]:
    """A text in the metadata of a `.safetensors` file, and a function that replaces it."""
    end = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:end])

    def seal(text: bytes) -> bytes:
        metadata = {**header["__metadata__"], key: text.decode("utf-8", "replace")}
        resealed = json.dumps({**header, "__metadata__": metadata}).encode()
        return struct.pack("<Q", len(resealed)) + resealed + whole[end:]

    return header["__metadata__"][key].encode(), seal


def sealed_recipe(whole: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """The recipe in a compiled model's metadata, and what puts another in its place."""
    import onnx

    (kept,) = (entry.value for entry in onnx.load_model_from_string(whole).metadata_props if entry.key == RECIPE)

    def seal(text: bytes) -> bytes:
        model = onnx.load_model_from_string(whole)
        for entry in model.metadata_props:
            if entry.key == RECIPE:
                entry.value = text.decode("utf-8", "replace")
        return bytes(model.SerializeToString())

    return kept.encode(), seal


def run_file(name: str, folder: Path) -> bytes:
    """A file of such a run."""
    _begun(folder)
    return next(folder.glob(f"r/{name}")).read_bytes()


def _without_checkpoint(folder: Path) -> None:
    _begun(folder)
    for path in folder.glob("r/checkpoints/step-*"):
        path.unlink()


RESUME = ("train", "m.model", "--resume", "r", "--epochs", "2", "-q")
PREDICT, RECIPE = ("predict", "r"), "nablac.recipe"
DIGITS = 'digits("d.{}")'


def formats(folder: Path) -> dict[str, Format]:
    """All formats by name; `folder` is for a run."""
    record, data = run_file("run.json", folder), run_file("data.json", folder)
    checkpoint = run_file("checkpoints/step-*.safetensors", folder)
    name = next(path.name for path in folder.glob("r/checkpoints/step-*.safetensors"))
    position, resealed = sealed_metadata(checkpoint, "position")
    kept = run_file("weights.safetensors", folder)
    of_data, with_data = sealed_metadata(kept, "nablac.trained")
    compiled = run_file("model.onnx", folder)
    recipe, with_recipe = sealed_recipe(compiled)
    lines = b"".join(b'{"a": %d, "b": %d, "t": "a"}\n' % (n, n) for n in range(12))
    weights: dict[str, bytes | str] = {"m.model": DENSE, "x.npy": npy(X)}
    texts: dict[str, bytes | str] = {"m.model": TOKENS % 'text("d.txt") -> tokens(length: 4, kind: "t.json")'}
    same: dict[str, bytes | str] = {"m.model": SAME}
    table: dict[str, bytes | str] = {"m.model": trained(ROWS.format("d.csv"))}
    picture: dict[str, bytes | str] = {
        "m.model": classified("3, 8, 8", 'images("p", size: 8)'),
        "p/b/2.png": png(PIXELS),
    }
    return {
        "csv": Format("d.csv", CSV, TRAIN, table),
        "csv to run": Format("d.csv", CSV, (*RUN, "d.csv"), same),
        "csv.gz": Format("d.csv", gzip.compress(CSV), TRAIN, table, CSV, gzip.compress),
        "npy": Format("x.npy", npy(X), (*RUN, "x.npy"), {"m.model": DENSE}),
        "npz": Format(
            "d.npz", packed_npz(npy(X)), TRAIN, {"m.model": classified("4", 'npz("d.npz")')}, npy(X), packed_npz
        ),
        "npz to run": Format("d.npz", npz(x=X), (*RUN, "d.npz"), {"m.model": DENSE}),
        "json": Format("d.json", b'{"x": [[1, 2], [3.5, "NaN"]]}', (*RUN, "d.json"), same),
        "parquet": Format(
            "d.pq", parquet(), TRAIN, {"m.model": trained(ROWS.replace("csv", "parquet").format("d.pq"))}
        ),
        "png to run": Format("d.png", png(PIXELS), (*RUN, "d.png"), {"m.model": PICTURE}, PIXELS, png),
        "png": Format("p/a/1.png", png(PIXELS), TRAIN, picture, PIXELS, png),
        "jpg": Format("p/a/1.jpg", jpeg(), TRAIN, picture),
        "idx": Format(
            "d.images", IDX, TRAIN, {"m.model": classified("1, 4, 4", DIGITS.format("images")), "d.labels": IDX_LABELS}
        ),
        "idx labels": Format(
            "d.labels", IDX_LABELS, TRAIN, {"m.model": classified("1, 4, 4", DIGITS.format("images")), "d.images": IDX}
        ),
        "csv of digits": Format(
            "d.csv",
            b"".join(b"%d,%d,2,3,%d\n" % (n % 3, n, n) for n in range(12)),
            TRAIN,
            {"m.model": classified("1, 2, 2", 'digits("d.csv", label: "first")')},
        ),
        "safetensors": Format(
            "w.safetensors",
            safetensors(),
            (*WEIGHTS, "w.safetensors"),
            weights,
            safetensors_header(),
            resealed_safetensors,
        ),
        "weights of npz": Format(
            "w.npz", npz(**{"dense.W": X[:4, :2], "dense.b": X[0, :2]}), (*WEIGHTS, "w.npz"), weights
        ),
        "weights of onnx": Format(
            "w.onnx",
            onnx_model(),
            (*WEIGHTS, "w.onnx", "--rename", "w -> dense.W", "--rename", "b -> dense.b"),
            {**weights, "m.model": DENSE.replace("Dense(2)", "Dense(4)")},
        ),
        "index": Format(
            "w/m.safetensors.index.json",
            b'{"weight_map": {"dense.W": "a.safetensors", "dense.b": "a.safetensors"}}',
            (*WEIGHTS, "w"),
            {**weights, "w/a.safetensors": safetensors()},
        ),
        "rules": Format(
            "d.rules",
            RULES.encode(),
            (*WEIGHTS, "w.safetensors", "--rename", "d.rules"),
            {**weights, "w.safetensors": safetensors()},
        ),
        "onnx": Format(
            "m.onnx", onnx_model(), ("run", "m.onnx", "x.npy"), {"x.npy": npy(X)}, b'["a", "b"]', onnx_model
        ),
        "tokenizer": Format("t.json", tokenizer(), TRAIN, {**texts, "d.txt": SENTENCES * 4}),
        "vocab": Format(
            "t.txt",
            VOCAB.encode(),
            TRAIN,
            {"m.model": TOKENS % 'text("d.txt") -> tokens(length: 4, kind: "t.txt")', "d.txt": SENTENCES * 4},
        ),
        "txt": Format(
            "d.txt", (SENTENCES * 4).encode(), TRAIN, {"m.model": TOKENS % 'text("d.txt") -> characters(length: 4)'}
        ),
        "py": Format("d.py", PYTHON.encode(), TRAIN, {"m.model": TOKENS % 'text("d.py") -> characters(length: 4)'}),
        "po": Format(
            "d.po", PO.encode(), TRAIN, {"m.model": PAIRS % 'pairs("d.po") -> tokens(length: 8, target: "class")'}
        ),
        "tsv": Format(
            "d.tsv",
            b"".join(b"text number %d\tclass %d\n" % (n, n % 2) for n in range(12)),
            TRAIN,
            {"m.model": PAIRS % 'pairs("d.tsv") -> tokens(length: 8, target: "class")'},
        ),
        "run.json": Format("r/run.json", record, RESUME, {}, prepare=_begun),
        "data.json": Format("r/data.json", data, RESUME, {}, prepare=_begun),
        "checkpoint": Format(
            f"r/checkpoints/{name}", checkpoint, RESUME, {}, position, resealed, prepare=_without_checkpoint
        ),
        "weights of a run": Format(
            "r/weights.safetensors", kept, ("eval", "r"), {}, of_data, with_data, prepare=_begun
        ),
        "csv to predict": Format("p.csv", CSV, (*PREDICT, "p.csv"), {}, prepare=_begun),
        "json lines": Format("p.jsonl", lines, (*PREDICT, "p.jsonl"), {}, prepare=_begun),
        "parquet to predict": Format("p.parquet", parquet(), (*PREDICT, "p.parquet"), {}, prepare=_begun),
        "recipe": Format("m.onnx", compiled, ("predict", "m.onnx", "p.csv"), {"p.csv": CSV}, recipe, with_recipe),
        "prompts": Format("d.json", b"[[1, 2, 3]]", ("run", "m.model", "d.json"), {"m.model": LOOKUP}),
    }

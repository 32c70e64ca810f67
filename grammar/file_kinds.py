"""The kind of a file by its first bytes, and the encoding of a text."""

from __future__ import annotations

import codecs
import re

NPY = "a NumPy array"
NPZ = "an NPZ archive"
ZIP = "a zip archive, as PyTorch and NumPy save them"
GZIP = "a gzip archive"
SAFETENSORS = "a file of weights (safetensors)"
ONNX = "an ONNX model"
PARQUET = "a Parquet file"
IMAGE = "an image"
PICKLE = "a Python pickle"
HDF5 = "an HDF5 file, as Keras saves them"
EXCEL = "an Excel file"
SPREADSHEET = "a spreadsheet of LibreOffice"
OFFICE = "a document of Excel or Word"
OLD_OFFICE = "a document of an old Excel or Word"
GGUF = "a GGUF file"
LFS_POINTER = "a Git LFS pointer"
TFLITE = "a TensorFlow Lite file"
ARRAYS = frozenset((NPY, NPZ))  # inputs or weights
SHEETS = frozenset((EXCEL, SPREADSHEET, OFFICE, OLD_OFFICE))
TRAINED = frozenset((ZIP, SAFETENSORS, ONNX, PICKLE, HDF5, GGUF, TFLITE))

# The first bytes that the formats prescribe.
_BEGINNINGS = (
    *((b"\x80" + bytes([protocol]), PICKLE) for protocol in range(2, 6)),
    (b"\x89HDF\r\n", HDF5),
    (b"\x93NUMPY", NPY),
    (b"(dp0\n", PICKLE),
    (b"GGUF", GGUF),
    (b"\x1f\x8b", GZIP),
    (b"\x89PNG", IMAGE),
    (b"\xff\xd8\xff", IMAGE),
    (b"GIF87a", IMAGE),
    (b"GIF89a", IMAGE),
    (b"II*\0", IMAGE),
    (b"MM\0*", IMAGE),
    (b"PAR1\x15", PARQUET),  # with the first field of a page header
    (b"\0\0\x08", "an IDX file, as MNIST's"),
    (b"BZh91AY&SY", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", OLD_OFFICE),
    (b"%PDF-", "a PDF document"),
    (b"version https://git-lfs.github.com/spec/", LFS_POINTER),
)
_ENCODINGS = (  # UTF-32 first: one of its byte order marks begins with one of UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ENCODINGS = (  # of tables, as Python names them, besides what a byte order mark says
    *("utf-8", "utf-16", "latin-1", "cp1250", "cp1251", "cp1252", "cp437", "cp850", "koi8-r", "mac-roman"),
    *("big5", "euc-jp", "euc-kr", "gb18030", "shift_jis"),
)
THOUSANDS = {  # signs between the thousands of numbers in tables, each with those that look alike
    sign: frozenset(alike) for alike in (",", ".", "_", "'\u2019", " \u00a0\u2009\u202f") for sign in alike
}
_SHEETS = re.compile(rb"PK(\x03\x04|\x01\x02).{22,42}xl/(workbook|worksheets|_rels|styles|theme)", re.DOTALL)
_OF_SPREADSHEETS = b"application/vnd.oasis.opendocument.spreadsheet"
_ONNX_FIELDS = (b"\x12", b"\x1a", b"\x22", b"\x28", b"\x32", b"\x3a", b"\x42")


def kind_of(content: bytes) -> str | None:
    """What a file is, such as "an NPZ archive"; None if its first bytes do not tell."""
    if content[8:10] == b'{"' and content[3:8] == bytes(5):  # before the others: its length may begin like a pickle
        return SAFETENSORS
    if content.startswith(b"PK\x03\x04"):
        return _zip_of(content)
    if _is_onnx(content):
        return ONNX
    if content[4:8] == b"TFL3":
        return TFLITE
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return IMAGE
    return next((kind for beginning, kind in _BEGINNINGS if content.startswith(beginning)), None)


def _is_onnx(content: bytes) -> bool:
    """Whether the content begins like a ModelProto: with its format version, then another of the first eight fields."""
    return content[:1] == b"\x08" and b"\0" < content[1:2] < b"\x20" and content[2:3] in _ONNX_FIELDS


def encoding_of(content: bytes) -> str:
    """The encoding of a text by its byte order mark, else UTF-8."""
    return next((encoding for mark, encoding in _ENCODINGS if content.startswith(mark)), "utf-8-sig")


def _zip_of(content: bytes) -> str:
    """The kind of a zip archive by the names of its entries, as far as they are in the content: the first one is."""
    length = int.from_bytes(content[26:28], "little")
    name = content[30 : 30 + length]
    if name.endswith(b".npy"):
        return NPZ
    if name == b"mimetype":
        return SPREADSHEET if _OF_SPREADSHEETS in content[38:120] else ZIP
    if name.startswith(b"xl/") or _SHEETS.search(content) is not None:
        return EXCEL
    office = name == b"[Content_Types].xml" or name.startswith((b"word/", b"_rels/", b"docProps/"))
    return OFFICE if office else ZIP

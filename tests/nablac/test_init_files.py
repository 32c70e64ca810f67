"""`nablac init` on tables of every kind, and on files whose content is not what their name says."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import pytest

from tests.command_line import invoke

ROWS = [{"site": "nsw"[n % 3], "note": f"a red car {n}", "a": n * 1.5, "tags": ["x"], "y": n * 2.25} for n in range(40)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
CSV = b"a,b,y\n" + b"".join(f"{n}.5,{n * 3 % 7},{n}.25\n".encode() for n in range(40))
TABLES = [
    ("x.jsonl", LINES, 'json("x.jsonl")', ["tags"]),
    ("x.ndjson.gz", gzip.compress(LINES), 'json("x.ndjson.gz")', ["tags"]),
    ("x.json", json.dumps(ROWS, indent=1).encode(), 'json("x.json")', ["tags"]),
    ("x.tsv", CSV.replace(b",", b"\t"), 'csv("x.tsv", separator: "\\t")', []),
    ("x.csv", CSV.replace(b"a,", b"[kWh],"), 'csv("x.csv")', []),
    ("x.txt", CSV.replace(b"a,", b"{a},"), 'csv("x.txt")', []),
    ("x.csv", CSV.replace(b"a,", b'{"a"},'), 'csv("x.csv")', []),
]


@pytest.mark.parametrize(("name", "content", "source", "unread"), TABLES, ids=[case[2] for case in TABLES])
def test_a_table_of_any_kind_gets_a_spec_that_trains_and_predicts(
    name: str, content: bytes, source: str, unread: list[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    done = invoke("init", name, folder=tmp_path)
    notes = [f"note: left out (lists or objects): {column}\n" for column in unread]
    assert done.stderr == "".join(notes) + "train it:  nablac train x.model\n"
    assert source in (tmp_path / "x.model").read_text()
    assert invoke("train", "x.model", "--epochs", "1", "-q", folder=tmp_path).exit_code == 0
    assert invoke("predict", "runs/x/1", name, folder=tmp_path).stdout.count("\n") == 41


def test_a_header_that_begins_with_a_brace_is_csv_on_standard_input_too(tmp_path: Path) -> None:
    content = CSV.replace(b"a,", b"{a},")
    (tmp_path / "x.csv").write_bytes(content)
    assert invoke("init", "x.csv", folder=tmp_path).exit_code == 0
    assert invoke("train", "x.model", "--epochs", "1", "-q", folder=tmp_path).exit_code == 0
    assert invoke("predict", "runs/x/1", "-", folder=tmp_path, stdin=content).stdout.count("\n") == 41
    broken = b'{"{a}": 1, "b": }\n' + b'{"{a}": 1, "b": 2, "y": 3}\n' * 2
    done = invoke("predict", "runs/x/1", "-", "--skip-broken", folder=tmp_path, stdin=broken)
    assert done.stdout.count("\n") == 3


def test_a_table_of_lists_and_objects_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[{"a": {"b": 1}, "c": [2]}]')
    for words in (["x.json"], ["forecast", "x.json"]):
        assert invoke("init", *words, folder=tmp_path).stderr == (
            "error[E823]: x.json has no column of numbers, texts or dates\n --> x.json\n"
            "help: write what its lists and objects hold as columns of their own\n"
        )


def test_parquet_has_dates(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    days = pyarrow.array(range(19000, 19060), pyarrow.int32()).cast(pyarrow.date32())
    table = pyarrow.table({"day": days, "y": [n % 7 * 1.5 for n in range(60)], "more": [[1]] * 60})
    parquet.write_table(table, tmp_path / "x.parquet")
    done = invoke("init", "x.parquet", folder=tmp_path)
    assert "the dates in `day` go forward, by 1 day\nnote: left out (lists or objects): more\n" in done.stderr
    assert 'parquet("x.parquet")' in (tmp_path / "x.model").read_text()
    assert invoke("train", "x.model", "--epochs", "1", "-q", folder=tmp_path).exit_code == 0


def archive(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name in names:
            packed.writestr(name, "<x/>")
    return content.getvalue()


OTHERS = [
    ("CSV called JSON lines", "x.jsonl", CSV, "this is not JSON, as its name says",
     "if it is a CSV file, call it `x.csv`"),
    ("packed CSV called JSON", "x.json.gz", gzip.compress(CSV), "this is not JSON, as its name says",
     "if it is a CSV file, call it `x.csv.gz`"),
    ("CSV called Parquet", "x.parquet", CSV, "this is not a Parquet file, as its name says",
     "if it is a CSV file, call it `x.csv`"),
    ("JSON lines called CSV", "x.csv", LINES,
     "this is JSON with an object on each line; expected a CSV file, by its name", "call it `x.jsonl`"),
    ("a list called CSV", "x.csv", json.dumps(ROWS, indent=1).encode(),
     "this is a list in JSON; expected a CSV file, by its name", "call it `x.json`"),
    ("a list on a long line called CSV", "x.csv", json.dumps([{"a": [True, 1.25, "b"] * 200}]).encode(),
     "this is a list in JSON; expected a CSV file, by its name", "call it `x.json`"),
    ("a long text in JSON called CSV", "x.csv", json.dumps({"a": "b" * 5000}).encode(),
     "this is JSON with an object on each line; expected a CSV file, by its name", "call it `x.jsonl`"),
    ("a list called lines", "x.jsonl", json.dumps(ROWS).encode(),
     "this is a list in JSON; expected JSON with an object on each line, by its name", "call it `x.json`"),
    ("a Parquet file called CSV", "x.csv", b"PAR1\x15\0", "this is a Parquet file; expected a CSV file, by its name",
     "call it `x.parquet`"),
    ("Excel", "x.xlsx", archive("xl/a.xml"), "this is an Excel file; expected a table",
     "save the sheet as CSV there, and read that file"),
    ("LibreOffice", "x.ods", archive("mimetype").replace(b"<x/>", b"application/vnd.oasis.opendocument.spreadsheet"),
     "this is a spreadsheet of LibreOffice; expected a table", "save the sheet as CSV there, and read that file"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message", "hint"), [case[1:] for case in OTHERS], ids=[c[0] for c in OTHERS]
)
def test_a_file_that_is_not_what_its_name_says(
    name: str, content: bytes, message: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    done = invoke("init", name, folder=tmp_path)
    assert done.stderr == f"error[E821]: {message}\n --> {name}\nhelp: {hint}\n"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.jsonl", "x.ndjson.gz", "x.json", "x.parquet"])
@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_file_is_called_so_whatever_its_name(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") and content else content)
    done = invoke("init", name, folder=tmp_path)
    assert (done.exit_code, done.stderr) == (2, f"error[E823]: {name} is empty\n --> {name}\n")


def test_options_of_csv_are_for_csv(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(LINES)
    done = invoke("init", "x.jsonl", "--encoding", "cp1252", folder=tmp_path)
    message = "`--header` and `--encoding` are those of a CSV file, and x.jsonl is none"
    assert done.stderr == f"error[E605]: {message}\n --> x.jsonl\n"


@pytest.mark.parametrize("text", [LINES.decode(), json.dumps(ROWS), json.dumps(ROWS, indent=1)])
def test_json_in_a_csv_file_is_named_where_it_is_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(CSV)
    assert invoke("init", "x.csv", folder=tmp_path).exit_code == 0
    (tmp_path / "x.csv").write_text(text)
    done = invoke("train", "x.model", "--dry-run", folder=tmp_path)
    assert done.stderr == (
        "error[E821]: this is JSON; expected a CSV file\n"
        f" --> {tmp_path}/x.csv\n"
        "help: `json(...)` reads it; with an object on each line its name ends in `.jsonl`, and else in `.json`\n"
    )

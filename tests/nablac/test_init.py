"""`nablac init`: a spec that trains as it is written."""

from __future__ import annotations

import gzip
import json
import random
import shlex
from pathlib import Path

import pytest

from tests.command_line import invoke
from tests.paths import SPECS


@pytest.mark.parametrize("kind", ["forecast", "images", "text"])
def test_a_template_trains_on_its_data(kind: str, tmp_path: Path) -> None:
    done = invoke("init", kind, "--json", folder=tmp_path)
    files = json.loads(done.stdout)["files"]
    assert files[0] == f"{kind}.model" and all((tmp_path / file).is_file() for file in files)
    assert (tmp_path / files[0]).read_text() == (SPECS / "templates" / files[0]).read_text()
    assert invoke("check", files[0], folder=tmp_path).stderr == "1 file checked, no errors\n"
    trained = invoke("train", files[0], "--epochs", "1", "--limit-batches", "2", "-q", folder=tmp_path)
    assert trained.exit_code == 0, trained.output


def table(folder: Path, head: str, row: str, name: str = "houses.csv", count: int = 60) -> Path:
    draw = random.Random(1)
    rows = []
    for number in range(count):
        values = {
            "n": number,
            "next": number + 1,
            "shuffled": number * 7 % 61,
            "sales": number * 70,
            "date": f"{1 + number // 28:02}-{1 + number % 28:02}",
            "x": f"{draw.random():.3f}",
            "bit": number % 2,
            "word": ("big", "small")[number % 2],
        }
        rows.append(row.format(**values))
    (folder / name).write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return folder / name


TABLES = [
    ("a number", "a,b,price", "{n}.5,{x},{n}.5", 'inputs: ["a", "b"], targets: ["price"]', "mse(y, value)"),
    ("a text", "a,b,kind", "{n}.5,{x},{word}", 'inputs: ["a", "b"], targets: ["kind"]', "cross_entropy(logits, label)"),
    ("0 and 1", "a,sold", "{x},{bit}", 'inputs: ["a"], targets: ["sold"]', "cross_entropy(logits, label)"),
    ("texts between", "day,city,a,y", "2024-01-01,c{n},{x},{n}.5", 'inputs: ["a"], targets: ["y"]', "mse(y, value)"),
    ("a hard name", 'a,"say ""it"", now",y', "{x},{n}.5,{n}.5", 'inputs: ["a", "say \\"it\\", now"]', "mse(y, value)"),
    ("semicolons", "a;b;y", "{n},5;{n},25;{n},75", 'separator: ";", decimal: ","', "mse(y, value)"),
    (
        "points between thousands",
        "a;b;y",
        "{n},25;1.{n:03},5;2.{n:03}.500",
        'separator: ";", decimal: ",", thousands: "."',
        "mse(y, value)",
    ),
    ("commas between thousands", "a,y", '"1,{n:03}.5",{n}', 'thousands: ","', "mse(y, value)"),
    ("whole numbers with them", "a,y", '"1,{n:03}","2,{n:03}"', 'thousands: ","', "mse(y, value)"),
    ("some with them", "time,n", '2024-{date},"{sales:,}"', 'thousands: ","', "mse(y, next)"),
    ("no-break spaces", "a;y", "1\u202f{n:03},5;{n}", 'separator: ";", decimal: ",", thousands: " "', "mse(y, value)"),
    (
        "classes and texts",
        "note,city,a,mood,y",
        '"a {word}, and {n}",{word},{x},{word},{n}.5',
        'inputs: ["a", "city", "mood", "note"], targets: ["y"]',
        "mse(y, value)",
    ),
    ("two texts alone", "note,more,y", "a {word} {n},an {n},{n}.5", 'inputs: ["note", "more"]', "mse(y, value)"),
    (
        "names of the language",
        "seed,training,not,from,step,mean,mae,a,y",
        "{word},{word},{word},{word},{word},{word},{word},{x},{n}.5",
        'inputs: ["a", "from"]',
        "mse(y, value)",
    ),
    (
        "names of the spec",
        "hidden,loss,T,note_known,note,value,Ort,features,label",
        "{word},{word},{word},{word},a {word} and {n},{x},{word},{x},{n}.5",
        'inputs: ["value", "features", "hidden", "loss", "T", "note_known", "Ort", "note"]',
        "mse(y, value)",
    ),
    ("no header", "1.5,2.5,3.5", "{n}.5,{x},{n}.5", 'inputs: ["0", "1"], targets: ["2"]', "mse(y, value)"),
]


@pytest.mark.parametrize(("head", "row", "columns", "loss"), [case[1:] for case in TABLES], ids=[c[0] for c in TABLES])
def test_a_table_gets_a_spec_that_trains_on_it(head: str, row: str, columns: str, loss: str, tmp_path: Path) -> None:
    table(tmp_path, head, row)
    assert invoke("init", "houses.csv", folder=tmp_path).exit_code == 0
    spec = (tmp_path / "houses.model").read_text("utf-8")
    assert columns in spec and loss in spec
    assert invoke("fmt", "--check", "houses.model", folder=tmp_path).exit_code == 0
    trained = invoke("train", "houses.model", "--epochs", "1", "-q", folder=tmp_path)
    assert trained.exit_code == 0, trained.output
    assert invoke("predict", "runs/houses/1", "houses.csv", folder=tmp_path).exit_code == 0


def test_the_target_can_be_chosen_and_what_is_left_out_is_named(tmp_path: Path) -> None:
    path = table(tmp_path, "id,a,b,price", "c{n},{x},,{n}.5")
    assert invoke("init", path, "--target", "a").exit_code == 0
    spec = path.with_suffix(".model").read_text()
    assert 'inputs: ["price"], targets: ["a"]' in spec
    assert "# Left out (texts or empty): id, b.\n" in spec


NUMBERED = [
    ("from 0", "id,a,price", "{n},{x},{n}.5", ["a"], "id"),
    ("from 1", "row,a,price", "{next},{x},{n}.5", ["a"], "row"),
    ("shuffled, by its name", "a,customer_id,price", "{x},{shuffled},{n}.5", ["a"], "customer_id"),
    ("behind all others", "a,price,id", "{x},{n}.5,{n}", ["a"], "id"),
    ("shuffled, of another name", "age,a,price", "{shuffled},{x},{n}.5", ["age", "a"], None),
    ("from another number", "year,a,price", "2{n:03},{x},{n}.5", ["year", "a"], None),
    ("a word that ends so", "humid,a,price", "{shuffled},{x},{n}.5", ["humid", "a"], None),
    ("with repetitions", "id,a,price", "{bit},{x},{n}.5", ["id", "a"], None),
    ("nothing else", "time,price", "{n},{n}.5", ["time"], None),
]


@pytest.mark.parametrize(
    ("head", "row", "inputs", "left_out"), [case[1:] for case in NUMBERED], ids=[case[0] for case in NUMBERED]
)
def test_a_column_that_numbers_the_rows_is_left_out(
    head: str, row: str, inputs: list[str], left_out: str | None, tmp_path: Path
) -> None:
    table(tmp_path, head, row)
    done = invoke("init", "houses.csv", folder=tmp_path)
    assert done.exit_code == 0, done.output
    spec = (tmp_path / "houses.model").read_text("utf-8")
    assert f'columns(inputs: {json.dumps(inputs)}, targets: ["price"])' in spec
    remark = f"left out (it numbers the rows): {left_out}"
    assert (f"note: {remark}\n" in done.stderr) == (left_out is not None) == ("numbers the rows" in spec)


REMARKS = [
    ("an index of pandas", ",a,price", "{n},{x},{n}.5", "left out (without a name): column 1"),
    ("a target without a name", "a,b,", "{x},{x},{word}", "left out (without a name): column 3"),
    (
        "points that may be between thousands",
        "a;b;price",
        "{n};{next}.500;{shuffled}",
        '`b` may be read in two ways: `1.500` is taken for 1.5; in the spec, `thousands: "."` and `decimal: ","` read'
        " it as 1500",
    ),
    (
        "commas that may be between thousands",
        "b;price",
        "{next},500;{shuffled}",
        '`b` may be read in two ways: `1,500` is taken for 1.5; in the spec, `thousands: ","` for `decimal: ","` reads'
        " it as 1500",
    ),
    (
        "decimal commas",
        "a,b,price",
        '{n}.25,"0,{n:03}",{n}.5',
        "left out: b, for `0,000` on line 2 is not a number: where `,` separates the cells, numbers have a decimal "
        'point; `separator: ";"` and `decimal: ","` read a file with `;` between them',
    ),
]


@pytest.mark.parametrize(("head", "row", "remark"), [each[1:] for each in REMARKS], ids=[each[0] for each in REMARKS])
def test_what_a_spec_cannot_read_is_noted_and_the_rest_trains(head: str, row: str, remark: str, tmp_path: Path) -> None:
    path = table(tmp_path, head, row)
    (tmp_path / "houses.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    done = invoke("init", "houses.csv.gz", folder=tmp_path)
    assert f"note: {remark}\n" in done.stderr and done.stdout == "houses.model\n"
    trained = invoke("train", "houses.model", "--dry-run", "-q", folder=tmp_path)
    assert trained.exit_code == 0, trained.output


@pytest.mark.parametrize("row", ["{next}.500;0.125", "{next}.500;{n}.25", "1{n:03};{n}", "1{n:03}.5;2.250"])
def test_what_is_certainly_a_decimal_sign_is_not_noted(row: str, tmp_path: Path) -> None:
    table(tmp_path, "a;price", row)
    assert invoke("init", "houses.csv", "--rows", folder=tmp_path).stderr == "train it:  nablac train houses.model\n"


def test_why_there_is_nothing_to_predict_from_is_said(tmp_path: Path) -> None:
    table(tmp_path, "a,price", '"0,{n:03}",{n}.5')
    assert invoke("init", "houses.csv", folder=tmp_path).stderr == (
        "error[E823]: houses.csv has no column of numbers, classes or texts to predict `price` from\n --> houses.csv\n"
        "  = `a`: `0,000` on line 2 is not a number: where `,` separates the cells, numbers have a decimal point; "
        '`separator: ";"` and `decimal: ","` read a file with `;` between them\n'
        "help: `--target` chooses another column\n"
    )


def test_the_printed_commands_run_whatever_the_name(tmp_path: Path) -> None:
    table(tmp_path, "a,price", "{x},{n}.5", "my data; rm.csv")
    done = invoke("init", "my data; rm.csv", folder=tmp_path)
    assert "train it:  nablac train 'my data; rm.model'\n" in done.stderr
    spec = (tmp_path / "my data; rm.model").read_text("utf-8")
    printed = [shlex.split(line.lstrip("# ")) for line in spec.splitlines() if line.startswith("#   nablac")]
    assert [words[1:] for words in printed] == [
        ["train", "my data; rm.model"],
        ["eval", "runs/mydatarm/1"],
        ["predict", "runs/mydatarm/1", "my data; rm.csv"],
    ]
    trained = invoke("train", "my data; rm.model", "--epochs", "1", "-o", "a run", folder=tmp_path)
    assert "resume:    nablac train --resume 'a run' --epochs 2\n" in trained.stderr
    refused = invoke("train", "a run", folder=tmp_path)
    assert "`nablac train --resume 'a run'` continues it" in refused.stderr


def test_the_printed_commands_take_a_name_with_a_dash_for_no_option(tmp_path: Path) -> None:
    table(tmp_path, "a,price", "{x},{n}.5", "-dash.csv")
    done = invoke("init", "--", "-dash.csv", folder=tmp_path)
    assert done.stdout == "-dash.model\n" and done.stderr == "train it:  nablac train ./-dash.model\n"
    spec = (tmp_path / "-dash.model").read_text("utf-8")
    printed = [line.split()[2:] for line in spec.splitlines() if line.startswith("#   nablac")]
    assert printed == [["train", "./-dash.model"], ["eval", "runs/dash/1"], ["predict", "runs/dash/1", "./-dash.csv"]]
    for options, command in zip((["--epochs", "1", "-q"], ["-q"], ["-q"]), printed, strict=True):
        ended = invoke(*command, *options, folder=tmp_path)
        assert ended.exit_code == 0, ended.output


WRONG = [
    (["zzz"], "is neither forecast, images, text nor a file"),
    (["nothing.csv"], "error[E820]: there is no such file"),
    (["forecast", "--target", "x"], "--target names a column of a table"),
    (["houses.csv", "--target", "pric"], "did you mean `price`?"),
    (["houses.csv", "--target", "id"], "the column `id` of houses.csv has more than 20 different texts"),
    (["empty.csv"], "error[E823]"),
    (["words.csv"], "has no column of numbers, classes or texts to predict `b` from"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    table(tmp_path, "id,a,price", "c{n},{x},{n}.5")
    table(tmp_path, "a,b", "c{n},{word}", "words.csv")
    (tmp_path / "empty.csv").write_text("")
    before = sorted(tmp_path.iterdir())
    done = invoke("init", *arguments, folder=tmp_path)
    assert done.exit_code == 2 and message in done.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("there", ["forecast.model", "data/airline-passengers.csv"])
def test_a_file_that_is_there_is_not_touched(there: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / there).write_text("mine")
    done = invoke("init", "forecast", folder=tmp_path)
    assert done.exit_code == 2 and f"error[E904]: {there} is there already" in done.stderr
    assert [path for path in sorted(tmp_path.rglob("*")) if path.is_file()] == [tmp_path / there]
    assert (tmp_path / there).read_text() == "mine"


@pytest.mark.parametrize(
    ("writings", "notes"),
    [
        (["0.0", "1.0", "2.0"], ""),
        (["0.0", "1.0", "", "2.0"], "note: rows without `kind` are left out\n"),
        (["0", "1.0", "0e0", "2.00"], ""),
    ],
)
def test_numbers_of_classes_are_classes_however_they_are_written(
    writings: list[str], notes: str, tmp_path: Path
) -> None:
    rows = [f"{n * 7 % 61}.5,{writings[n % len(writings)]}\n" for n in range(60)]
    (tmp_path / "x.csv").write_text("".join(["a,kind\n", *rows]))
    assert invoke("init", "x.csv", folder=tmp_path).stderr == f"{notes}train it:  nablac train x.model\n"
    spec = (tmp_path / "x.model").read_text()
    assert "target label: i64[batch]  # one of 3 classes\n" in spec and "cross_entropy(logits, label)" in spec
    trained = invoke("train", "x.model", "--epochs", "1", "-q", folder=tmp_path)
    assert trained.exit_code == 0, trained.output
    predicted = invoke("predict", "runs/x/1", "x.csv", folder=tmp_path).stdout
    assert predicted.startswith("kind,predicted_kind,probability_0,probability_1,probability_2\n")


def test_commas_between_thousands_may_come_late(tmp_path: Path) -> None:
    rows = [f'{n * 7 % 61}.5,"{n:,}"\n' for n in [*([999, 1] * 7_000), 1000]]
    (tmp_path / "x.csv").write_text("".join(["a,b\n", *rows]))
    assert invoke("init", "x.csv", folder=tmp_path).exit_code == 0
    assert 'csv("x.csv", thousands: ",")' in (tmp_path / "x.model").read_text()


def test_classes_are_those_of_the_whole_table(tmp_path: Path) -> None:
    """Also where the first thousands of rows have one, and a class that is rare."""
    rows = [f"{row % 7}.5,{'a' if row < 5000 else 'c' if row == 5500 else 'b'}" for row in range(6000)]
    (tmp_path / "t.csv").write_text("x,kind\n" + "\n".join(rows) + "\n")
    done = invoke("init", "t.csv", folder=tmp_path)
    assert done.exit_code == 0, done.output
    assert "# one of 3 classes" in (tmp_path / "t.model").read_text()


def test_a_cell_that_makes_a_column_no_numbers_is_named(tmp_path: Path) -> None:
    rows = [f"{row}.5,{'none at all' if row == 2500 else row},{row}.25" for row in range(3000)]
    (tmp_path / "t.csv").write_text("a,b,y\n" + "\n".join(rows) + "\n")
    done = invoke("init", "t.csv", folder=tmp_path)
    assert "note: left out: b, for `none at all` on line 2502 is not a number\n" in done.stderr


@pytest.mark.parametrize("name", ["h\u00e4user.csv", "ha\u0308user.csv"])  # the second as macOS stores it
def test_the_model_of_a_table_has_its_letters(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("a,b\n1,2\n2,3\n")
    spec = Path(json.loads(invoke("init", name, "--json", folder=tmp_path).stdout)["files"][0])
    assert "\nmodel H\u00e4user(" in (tmp_path / spec).read_text()
    assert invoke("check", spec, folder=tmp_path).exit_code == 0


def test_the_encoding_can_be_said(tmp_path: Path) -> None:
    rows = [f"{row},5;{row}" for row in range(20)]
    (tmp_path / "t.csv").write_bytes("\n".join(["größe;y", *rows]).encode("cp1252"))
    done = invoke("init", "t.csv", folder=tmp_path)
    assert done.stderr == (
        "error[E821]: this is not UTF-8 text: byte 2\n --> t.csv:1\n"
        "help: if it is in another encoding, such as that of Windows, say so: `--encoding 'cp1252'`\n"
    )
    assert invoke("init", "t.csv", "--encoding", "cp1252", folder=tmp_path).exit_code == 0
    assert 'decimal: ",", encoding: "cp1252"' in (tmp_path / "t.model").read_text()


def test_a_first_row_of_names_and_numbers_is_what_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n".join(["a,1", *(f"{row}.5,{row}" for row in range(20))]))
    done = invoke("init", "t.csv", folder=tmp_path)
    assert "help: `--header` reads it as names, `--no-header` as data\n" in done.stderr
    assert invoke("init", "t.csv", "--header", folder=tmp_path).exit_code == 0
    assert 'csv("t.csv", header: true)' in (tmp_path / "t.model").read_text()
    assert invoke("init", "images", "--header", folder=tmp_path).exit_code == 2


def test_dates_in_another_form_are_named(tmp_path: Path) -> None:
    rows = [f"{day:02d}-Feb-2024 {hour:02d}:00 AM,{day}.5,{hour}.25" for day in range(1, 20) for hour in range(1, 12)]
    (tmp_path / "t.csv").write_text("time,a,y\n" + "\n".join(rows) + "\n")
    how = '`calendar("time", ..., format: ...)`, where `%d-%b-%Y %I:%M %p` is 31-Dec-2024 11:59 PM\n'
    done = invoke("init", "forecast", "t.csv", folder=tmp_path)
    assert done.stderr == (
        "error[E823]: the dates in column `time` of t.csv are in a form that `init` does not read: "
        "`01-Feb-2024 01:00 AM`\n --> t.csv\n"
        f"help: write a spec of your own, and say how they are written: {how}"
    )
    done = invoke("init", "t.csv", folder=tmp_path)
    assert f"note: if `time` holds dates (`01-Feb-2024 01:00 AM`), say how they are written: {how}" in done.stderr

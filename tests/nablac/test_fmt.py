"""`nablac fmt`: what is printed and written, and that nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import invoke
from tests.paths import SPECS

UGLY, NEAT = (
    "layer  L{input x:[a]\noutput x+1}\n# end\n",
    "layer L() {\n    input x: [a]\n    output x + 1\n}\n\n# end\n",
)
BROKEN = "layer L( {\n"


def folder_of(path: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (path / f"{name}.model").write_bytes(text.encode())
    return path


def test_the_shipped_specs_are_formatted() -> None:
    done = invoke("fmt", "--check", SPECS)
    assert (done.exit_code, done.stdout) == (0, "")


def test_files_are_rewritten_and_then_stay(tmp_path: Path) -> None:
    folder_of(tmp_path, ugly=UGLY, neat=NEAT)
    done = invoke("fmt", tmp_path)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "1 of 2 files changed\n")
    assert (tmp_path / "ugly.model").read_text() == NEAT
    assert invoke("fmt", tmp_path / "ugly.model", tmp_path / "neat.model").stderr == "0 of 2 files changed\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["neat.model", "ugly.model"]


def test_check_names_the_files_and_writes_nothing(tmp_path: Path) -> None:
    folder_of(tmp_path, ugly=UGLY, neat=NEAT)
    done = invoke("fmt", "--check", ".", folder=tmp_path)
    assert (done.exit_code, done.stdout) == (1, "would change: ugly.model\n")
    assert (tmp_path / "ugly.model").read_text() == UGLY


def test_a_diff_is_unified_and_in_color_if_wanted(tmp_path: Path) -> None:
    folder_of(tmp_path, ugly="layer L() {\n    output  1\n}\n")
    done = invoke("fmt", "--diff", "ugly.model", folder=tmp_path)
    assert done.exit_code == 1
    expected = "--- ugly.model\n+++ ugly.model\n@@ -1,3 +1,3 @@\n layer L() {\n-    output  1\n+    output 1\n }\n"
    assert done.stdout == expected
    colored = invoke("fmt", "--diff", "--color", "always", "ugly.model", folder=tmp_path).stdout
    assert "\033[31m-    output  1\033[0m\n\033[32m+    output 1\033[0m\n" in colored


def test_standard_input_is_printed() -> None:
    assert invoke("fmt", "-", stdin=UGLY).stdout == NEAT
    assert invoke("fmt", "--check", "-", stdin=NEAT).exit_code == 0
    done = invoke("fmt", "-", stdin=BROKEN)
    assert (done.exit_code, done.stdout) == (1, "") and "error[E101]" in done.stderr


def test_a_file_with_an_error_is_left_and_the_others_are_formatted(tmp_path: Path) -> None:
    folder_of(tmp_path, bad=BROKEN, ugly=UGLY)
    done = invoke("fmt", tmp_path)
    assert done.exit_code == 1 and "bad.model:1:8" in done.stderr
    assert done.stderr.startswith("1 of 2 files changed; 1 could not be formatted\n")
    assert (tmp_path / "bad.model").read_text() == BROKEN
    assert (tmp_path / "ugly.model").read_text() == NEAT


@pytest.mark.parametrize(("options", "line"), [((), "no file changed"), (("--check",), "no file would change")])
def test_without_a_file_that_can_be_formatted_the_count_is_words(
    tmp_path: Path, options: tuple[str, ...], line: str
) -> None:
    folder_of(tmp_path, bad=BROKEN)
    done = invoke("fmt", *options, tmp_path / "bad.model")
    assert done.exit_code == 1 and done.stderr.startswith(f"{line}\nerror[E101]")


def test_line_ends_of_windows_stay(tmp_path: Path) -> None:
    folder_of(tmp_path, ugly=UGLY.replace("\n", "\r\n"))
    assert invoke("fmt", tmp_path).exit_code == 0
    assert (tmp_path / "ugly.model").read_bytes() == NEAT.replace("\n", "\r\n").encode()


def test_json_names_what_changed(tmp_path: Path) -> None:
    folder_of(tmp_path, bad=BROKEN, neat=NEAT, ugly=UGLY)
    facts = json.loads(invoke("fmt", "--check", "--json", ".", folder=tmp_path).stdout)
    assert (facts["files"], facts["changed"]) == (3, ["ugly.model"])
    assert [error["code"] for error in facts["errors"]] == ["E101", "E101"]


def test_the_text_of_a_run_is_not_touched(tmp_path: Path) -> None:
    folder_of(tmp_path, spec=UGLY, ugly=UGLY)
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    (run / "spec.model").write_text(UGLY)
    assert invoke("fmt", tmp_path).stderr == "2 of 2 files changed\n"
    done = invoke("fmt", run / "spec.model")
    assert done.exit_code == 2 and "belongs to the run" in done.stderr
    assert (run / "spec.model").read_text() == UGLY


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-", "x.model"], "- is standard input"),
        (["--diff", "--json", "x.model"], "choose one"),
        (["missing.model"], "error[E901]"),
        (["."], "error[E911]"),
    ],
)
def test_a_wrong_call_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = invoke("fmt", *arguments, folder=tmp_path)
    assert done.exit_code == 2 and message in done.stderr

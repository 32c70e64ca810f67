"""Completion in a shell, and specs that are found by name."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import invoke, shell, surroundings
from tests.paths import SPECS

LINES = [
    ("nablac comp", ["compile", "compare", "completion"]),
    ("nablac train fore", ["forecaster"]),
    ("nablac train own", ["own.model"]),
    ("nablac eval runs/own/", ["runs/own/1"]),
    ("nablac compare runs/own/", ["runs/own/1"]),
    ("nablac train --resume runs/o", ["runs/own/1", "runs/own/"]),
    ("nablac train own.model --ba", ["--backend", "--batch"]),
    ("nablac train own.model --backend ", ["numpy", "ort"]),
    ("nablac train own --preset ", ["large"]),
    ("nablac check own --preset ", ["large"]),
    ("nablac train own.model --set w", ["width="]),
    ("nablac train own.model --set width=", []),
    ("nablac train forecaster --set layer=", ["layer=SimpleRNN", "layer=GRU", "layer=LSTM"]),
    ("nablac train forecaster --set layer=G", ["layer=GRU"]),
    ("nablac compile own.model --disable-pass fuse-gem", ["fuse-gemm"]),
    ("nablac run own.model x=ow", ["x=own.model", "x=own.rules"]),
    ("nablac run own.model --nothing --ba", ["--backend"]),
    ("nablac run own.model --nothing x=ow", ["x=own.model", "x=own.rules"]),
    ("nablac train own.model --nothing ", []),
    ("nablac train own.model --nothing=3 --backend ", ["numpy", "ort"]),
    ("nablac --nothing train ow", ["own.model"]),
    ("nablac train -Xq ow", ["own.model"]),
    ("nablac train -qo -X ow", ["own.model"]),
    ("nablac train --epoc 3 ow", ["own.model"]),  # the beginning of `--epochs`
    ("nablac train --set -x ow", ["own.model"]),  # a value
    ("nablac train own.model --device nothing --ba", ["--backend", "--batch"]),
    ("nablac nothing ", []),
    ("nablac nothing --ba", []),
    ("nablac train nothing --ba", ["--backend", "--batch"]),
    ("nablac train nothing --preset ", []),
    ("nablac explain e30", ["E301", "E302", "E303", "E304", "E305", "E306", "E307", "E308", "E309"]),
    ("nablac completion z", ["zsh"]),
    ("nablac compile own.model --weights w --rename p", ["pytorch"]),
    ("nablac train own.model --rename o", ["own.rules"]),
    ("nablac train own.model --track ", ["mlflow", "wandb"]),
]
MODEL = (
    "model Own(width = 3) {\n    input x: [batch, 4]\n    output x -> Dense(width)\n    preset large { width = 8 }\n}\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.model").write_text(MODEL)
    (tmp_path / "own.rules").write_text("a -> b\n")
    (tmp_path / "runs/own/1").mkdir(parents=True)
    (tmp_path / "runs/own/1/run.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_a_shell_gets(folder: Path, line: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = line.split(" ")
    monkeypatch.setenv("_NABLAC_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    answer = invoke(folder=folder).stdout.splitlines()
    assert [name.partition(",")[2] for name in answer if name] == expected


@pytest.mark.parametrize(
    "line", ["nablac run own.model own", "nablac predict runs/own/1 own", "nablac run own nothing=zzz"]
)
def test_a_shell_lists_the_inputs_itself(folder: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_NABLAC_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", "3")
    assert invoke(folder=folder).stdout == f"file,{line.split()[-1]}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "index"), [("nablac foo ", "2"), ("nablac 'foo", "1"), ("nablac", "none"), ("", "1")]
)
def test_no_completion_prints_an_error(shell: str, words: str, index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_NABLAC_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", index)
    done = invoke()
    assert (done.exit_code, done.stderr) == (0, "")
    assert "foo" not in words or not done.stdout.strip()


def test_an_error_within_a_completion_prints_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        print("a note of a package", file=sys.stderr)
        raise RuntimeError

    monkeypatch.setattr("nablac.commands.named_models._candidates", fail)
    monkeypatch.setenv("_NABLAC_COMPLETE", "zsh_complete")
    monkeypatch.setenv("COMP_WORDS", "nablac train o")
    monkeypatch.setenv("COMP_CWORD", "2")
    done = invoke(folder=folder)
    assert (done.exit_code, done.output) == (0, "")


def typed_in_bash(folder: Path, lines: list[str]) -> list[str]:
    """The words of each line as an interactive bash in this folder has them after a TAB."""
    program_in(folder)
    rc = folder / "rc"
    rc.write_text(
        f"""cd '{folder}'; PS1='$ '; PATH="{folder}/bin:$PATH"; bind 'set enable-bracketed-paste off'
        eval "$(nablac completion bash)"; words() {{ printf '<%s>' "$@" >> words; echo >> words; }}
        """
    )
    number, terminal = pty.openpty()
    command = ["bash", "--rcfile", str(rc), "-i"]
    keys = "".join(f"{line}\t\x01words \n" for line in lines)  # behind the TAB, to the beginning of the line
    with subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env=surroundings(), start_new_session=True
    ) as bash:  # which could stop a group of processes that it shares a terminal with
        os.close(terminal)
        shown = b""
        try:
            os.write(number, keys.encode() + b"exit\n")
            while select.select([number], [], [], 20)[0] and (part := os.read(number, 1000)):
                shown += part
        except OSError:  # the end, on Linux
            pass
        finally:
            bash.kill()
            os.close(number)
    assert b"Traceback" not in shown and b"rror" not in shown, shown.decode()
    return (folder / "words").read_text().splitlines()


def test_bash_escapes_the_names_of_files(folder: Path) -> None:
    (folder / "my model.model").write_text(MODEL)
    (folder / "my table's.csv").touch()
    words = {
        "train my": "<train><my model.model>",
        'train "my': "<train><my model.model>",
        "draw my\\ m": "<draw><my model.model>",
        "train ow": "<train><own.model>",
        "run own.model my\\ t": "<run><own.model><my table's.csv>",
        "run own.model x=my\\ t": "<run><own.model><x=my table's.csv>",
        "eval ru": "<eval><runs/>",
        "train --resume runs/own/": "<train><--resume><runs/own/1/>",
        "train own --set wid\t8": "<train><own><--set><width=8>",
        "foo ": "<foo>",
        "fooo --ep": "<fooo><--ep>",
    }
    assert typed_in_bash(folder, [f"nablac {line}" for line in words]) == [f"<nablac>{line}" for line in words.values()]


def program_in(folder: Path) -> None:
    """Make `bin/nablac`: the script of a shell runs a program by this name."""
    program = folder / "bin/nablac"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nablac "$@"\n')
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("nablac train forecaster --set layer=", ["SimpleRNN", "GRU", "LSTM"]),
        ("nablac train forecaster --set layer=G", ["GRU"]),
        ("nablac train forecaster --set l", ["layer="]),
        ("nablac train forecaster --set layer=GRU --backend=o", ["ort"]),
        ("nablac train forecaster --set layer=GRU --resume runs/o", ["runs/own/1", "runs/own/"]),
    ],
)
def test_bash_breaks_words_at_equals_signs(folder: Path, typed: str, expected: list[str]) -> None:
    words = " ".join(f"'{word}'" for word in re.split(r"(=)| ", typed) if word)
    program_in(folder)
    script = f"""export PATH="{folder}/bin:$PATH"; eval "$(nablac completion bash)"
        COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _nablac_completion nablac; printf '%s\n' "${{COMPREPLY[@]}}"
        """
    done = shell(f"cd '{folder}'\n{script}")
    assert done.stdout.splitlines() == expected, done.stderr


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_nablac(name: str) -> None:
    script = invoke("completion", name).stdout
    assert f"_NABLAC_COMPLETE={name}_complete" in script
    assert json.loads(invoke("completion", name, "--json").stdout) == {"shell": name, "script": script[:-1]}


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("nablac comp", ["compare", "compile", "completion"]),
        ("nablac train own", ["own.model"]),
        ("nablac train forecaster --set layer=", ["layer=GRU", "layer=LSTM", "layer=SimpleRNN"]),
        ("nablac train own.model --backend ", ["numpy", "ort"]),
    ],
)
def test_fish_completes_by_the_script(folder: Path, typed: str, expected: list[str]) -> None:
    script = f"nablac completion fish | source; complete -C '{typed}'"
    done = shell(f"cd '{folder}'\nfish --no-config -c \"{script}\"")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == expected, done.stderr


def test_bash_takes_the_script() -> None:
    done = shell('eval "$(nablac completion bash)"; complete -p nablac')
    assert done.returncode == 0 and "_nablac_completion" in done.stdout


def test_a_shipped_spec_is_found_by_name_and_reads_its_data(tmp_path: Path) -> None:
    done = invoke("train", "forecaster", "--epochs", "1", "-q", folder=tmp_path)
    assert done.exit_code == 0, done.output
    assert invoke("eval", "runs/forecaster/1", folder=tmp_path).exit_code == 0


def test_results_of_a_shipped_spec_are_written_to_the_working_folder(tmp_path: Path) -> None:
    before = sorted(SPECS.iterdir())
    assert invoke("compile", "mlp", folder=tmp_path).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mlp.onnx"]
    assert sorted(SPECS.iterdir()) == before


def test_a_file_of_the_folder_comes_before_a_shipped_spec(tmp_path: Path) -> None:
    (tmp_path / "lstm.model").write_text(MODEL)
    assert "Own" in invoke("summary", "lstm", folder=tmp_path).stdout
    shutil.move(tmp_path / "lstm.model", tmp_path / "lstm")
    assert "Own" in invoke("summary", "lstm", folder=tmp_path).stdout


def test_an_unknown_name_says_what_there_is(tmp_path: Path) -> None:
    done = invoke("check", "forcaster", folder=tmp_path)
    expected = "error[E901]: there is no file `forcaster`, no file `forcaster.model`, and no spec of this name\n"
    assert (done.exit_code, done.stderr) == (2, f"{expected} --> forcaster\nhelp: did you mean `forecaster`?\n")
    assert "bert, characters, cnn" in invoke("train", "zzz", folder=tmp_path).stderr

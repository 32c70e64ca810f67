"""The command line: exit status, what is printed to which stream, and which files are left."""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest
from safetensors.numpy import save_file

from nablac.commands import COMMANDS
from nablac.commands.option_types import NamedPath
from tests.command_line import invoke, shell
from tests.paths import ROOT, SPECS

MODELS = sorted(SPECS.glob("*.model"))


def model(folder: Path, text: str) -> Path:
    path = folder / "m.model"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_do_not_import_each_other(name: str) -> None:
    tree = ast.parse((ROOT / "nablac/commands" / f"{name}.py").read_text("utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not modules & {f"nablac.commands.{other}" for other in COMMANDS}, "what they share has a module of its own"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_options_of_what_it_prints(name: str) -> None:
    command = import_module(f"nablac.commands.{name}").command
    assert {"--json", "--color", "--quiet", "--verbose"} <= {option for item in command.params for option in item.opts}
    assert all(isinstance(item.type, NamedPath) for item in command.params if isinstance(item.type, click.Path))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_begins_with_its_line_in_the_list(name: str) -> None:
    done = invoke(name, "--help")
    assert done.exit_code == 0 and done.stdout.splitlines()[2].strip() == COMMANDS[name]


def test_check_reports_that_a_file_has_no_errors() -> None:
    done = invoke("check", SPECS / "lstm.model")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "1 file checked, no errors\n")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is no `.model` file in this folder"),
        ({"notes.txt": "M"}, "there is no `.model` file in this folder"),
        ({"inner.model/notes.txt": "M"}, "there is no `.model` file in this folder"),
        ({"empty.model": ""}, "this file declares nothing"),
        ({"a/words.model": "# later\n"}, "this file declares nothing"),
    ],
)
def test_check_reports_that_there_is_nothing_to_check(files: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    done = invoke("check", tmp_path, "--json")
    assert done.exit_code == 2
    assert [(error["code"], error["message"]) for error in json.loads(done.stdout)["errors"]] == [("E911", message)]


@pytest.mark.parametrize("command", ["check", "train", "compile", "summary"])
@pytest.mark.parametrize("text", ["", "# later\n"])
def test_all_commands_say_the_same_of_an_empty_file(command: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "empty.model").write_text(text)
    done = invoke(command, "empty.model", folder=tmp_path)
    assert done.exit_code == 2
    assert done.stderr.startswith("error[E911]: this file declares nothing\n --> empty.model\n")


def test_check_reads_standard_input_and_prints_json() -> None:
    done = invoke("check", "-", "--json", stdin="model M {\n    input x: [batch, 3]\n    output y\n}\n")
    assert done.exit_code == 1
    (error,) = json.loads(done.stdout)["errors"]
    assert (error["code"], error["file"], error["line"], error["column"]) == ("E201", "<stdin>", 3, 12)
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["check", "fmt"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"model M {\n\xfe\x8c\x91 \xb6\n}",
            "error[E140]: the file is not UTF-8 text\n --> <stdin>\n  = byte 0xfe on line 2\nhelp: save it as UTF-8",
        ),
        (b"model\0", "error[E141]: the file is binary, not text\n --> <stdin>\n  = a zero byte at offset 5"),
    ],
)
def test_standard_input_that_is_no_text_is_told_once(command: str, content: bytes, message: str) -> None:
    done = invoke(command, "-", stdin=content)
    assert done.exit_code == 1 and message in done.stderr and done.output.count("error[") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", ""), "'FILES...': a path is empty"),
        (("compare", "run", ""), "'RUN...': a path is empty"),
        (("compile", "lstm", "-o", ""), "'-o' / '--output': a path is empty"),
        (("run", "lstm", ""), "'[INPUTS]...': a path is empty"),
        (("train", "lstm", "--data", ""), "'--data': a path is empty"),
        (
            ("train", "lstm", "--epochs", "9" * 20),
            f"'--epochs': {'9' * 20} is too large; the largest is 999,999,999,999,999,999",
        ),
    ],
)
def test_empty_paths_and_huge_counts_are_refused(arguments: tuple[str, ...], message: str) -> None:
    done = invoke(*arguments)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (2, f"Error: Invalid value for {message}")


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_model_compiles_to_onnx_that_the_checker_takes(
    tmp_path: Path, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import onnx

    from runtime.onnx_session import OnnxRunner

    target = tmp_path / "m.onnx"
    done = invoke("compile", path, "-o", target)
    assert done.exit_code == 0, done.stderr
    assert "verified against the NumPy runtime" in done.stderr
    assert ("`--model` selects another" in done.stderr) == (path.stem in ("rnn", "gru"))
    onnx.checker.check_model(onnx.load(target), full_check=True)
    assert os.listdir(tmp_path) == ["m.onnx"]
    OnnxRunner(target, severity=2)
    assert capfd.readouterr().err == ""  # loaded without a warning


def test_compile_counts_buffers_separately_and_prints_its_stages(tmp_path: Path) -> None:
    done = invoke("compile", SPECS / "resnet.model", "-o", tmp_path / "m.onnx", "-v")
    assert "703,386 parameters and 2,400 in buffers, " in done.stdout
    stages = ("read", "elaborated and optimised", "initialized", "exported", "written", "checked", "verified")
    for stage in stages:
        assert re.search(rf"{stage} in [\d,]+ ms", done.stderr), stage


@pytest.mark.parametrize(
    ("command", "stages"),
    [
        (("check", "m.model"), ["m.model: read", "m.model: checked"]),
        (("fmt", "m.model"), ["m.model: formatted"]),
        (("draw", "m.model"), ["m.model: read", "elaborated", "drawn"]),
        (("init", "t.csv"), ["t.csv: read", "written"]),
        (("init", "forecast"), ["written"]),
        (("explain", "e901"), []),
    ],
)
def test_a_verbose_command_prints_its_stages_and_its_duration(
    command: tuple[str, ...], stages: list[str], tmp_path: Path
) -> None:
    (tmp_path / "m.model").write_text("model M {\n    input x: [batch, 3]\n    output x + 1\n}\n")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n2,3\n")
    shown = invoke(*command, "-v", folder=tmp_path).stderr
    assert re.findall(r"^(.*) in [\d,]+ ms$", shown, re.MULTILINE) == [*stages, "all"]
    assert " ms" not in invoke(*command, folder=tmp_path).stderr


@pytest.mark.parametrize(
    ("name", "file"),
    [("ManyToMany", "rnn"), ("ManyToOne", "rnn"), ("GatedDigits", "gru"), ("BidirectionalDigits", "gru")],
)
def test_a_file_of_several_models_compiles_the_one_named(tmp_path: Path, name: str, file: str) -> None:
    done = invoke("compile", SPECS / f"{file}.model", "--model", name, "-o", tmp_path / "m.onnx")
    assert done.exit_code == 0, done.stderr
    assert f": {name}, " in done.stdout


def test_run_takes_a_column_of_a_real_series() -> None:
    done = invoke("run", SPECS / "forecaster.model", f"{SPECS}/data/airline-passengers.csv:passengers")
    assert done.exit_code == 0
    assert done.stdout.startswith("y: ")
    assert "untrained weights" in done.stderr


def test_run_takes_some_rows_of_a_column(tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("a,b\n1,2\n3,4\n5,6\n7,8\n")
    spec = model(tmp_path, "model M {\n    input x: [n]\n    output y = 2 * x\n}\n")

    def result_of(column: str) -> object:
        done = invoke("run", spec, f"{tmp_path}/few.csv:{column}", "--json")
        printed = json.loads(done.stdout)
        return printed["y"] if done.exit_code == 0 else printed["errors"][0]["message"]

    assert result_of("b") == [4, 8, 12, 16]
    assert result_of("b[-2:]") == [12, 16]
    assert result_of("a[1:3]") == [6, 10]
    assert result_of("a[:1]") == [2]
    assert result_of("a[9:]") == "this selects none of the 4 rows"
    assert result_of("c[-2:]") == "there is no column `c`"


def test_run_takes_the_image_of_a_digit() -> None:
    pytest.importorskip("PIL")
    done = invoke("run", SPECS / "cnn.model", SPECS / "data" / "seven.png", "--json", "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    assert abs(sum(json.loads(done.stdout)["probability"][0]) - 1) < 1e-5


READERS = {
    "npy": np.load,
    "npz": lambda path: np.load(path)["y"],
    "csv": lambda path: np.loadtxt(path, delimiter=",", skiprows=1),
    "json": lambda path: json.loads(path.read_text())["y"],
}


@pytest.mark.parametrize("ending", READERS)
def test_a_compiled_model_runs_as_the_text_does(tmp_path: Path, ending: str) -> None:
    assert invoke("compile", SPECS / "lstm.model", "-o", tmp_path / "lstm.onnx").exit_code == 0
    series = f"{SPECS}/data/airline-passengers.csv:passengers"
    results = []
    for file in (SPECS / "lstm.model", tmp_path / "lstm.onnx"):
        out = tmp_path / f"{file.suffix[1:]}.{ending}"
        assert invoke("run", file, series, "-o", out).exit_code == 0
        results.append(np.asarray(READERS[ending](out)).reshape(-1))
    np.testing.assert_allclose(*results, rtol=1e-5)


OPTIONS_OF_COMPILATION = [
    ("--weights", "nothing.safetensors"),
    ("--rename", "a -> b"),
    ("--preset", "nope"),
    ("--set", "foo=1"),
    ("--dtype", "f64"),
    ("--model", "Foo"),
    ("--backend", "numpy"),
]


def test_options_without_effect_on_a_compiled_model_are_refused(tmp_path: Path) -> None:
    compiled = tmp_path / "mlp.onnx"
    assert invoke("compile", SPECS / "mlp.model", "-o", compiled, "--no-verify").exit_code == 0
    np.save(tmp_path / "x.npy", np.zeros((1, 28, 28)))
    for option in OPTIONS_OF_COMPILATION:
        done = invoke("run", compiled, tmp_path / "x.npy", *option)
        assert done.exit_code == 2 and f"`{option[0]}" in done.stderr, (option, done.stderr)
    assert "`--preset` has no effect" in invoke("generate", compiled, "text", "--preset", "nope").stderr
    assert invoke("run", compiled, tmp_path / "x.npy", "--backend", "ort").exit_code == 0


def test_rename_rules_without_effect_are_noted(tmp_path: Path) -> None:
    spec = model(tmp_path, "model M {\n    input x: [batch, 2]\n    output y = x -> Dense(2)\n}\n")
    save_file({"dense.W": np.eye(2, dtype=np.float32), "dense.b": np.zeros(2, np.float32)}, tmp_path / "w.safetensors")
    np.save(tmp_path / "x.npy", np.ones((1, 2)))
    loaded = invoke(
        "run", spec, tmp_path / "x.npy", "--weights", tmp_path / "w.safetensors", "--rename", "dens.W -> dense.W ^T"
    )
    assert loaded.exit_code == 0
    assert loaded.stderr == f"note: {tmp_path}/w.safetensors: `dens.W -> dense.W ^T` matches no entry of the file\n"
    alone = invoke("run", spec, tmp_path / "x.npy", "--rename", "dens.W -> dense.W ^T")
    assert alone.exit_code == 2 and "add `--weights FILE`" in alone.stderr
    folder = invoke("run", spec, tmp_path / "x.npy", "--weights", tmp_path / "w.safetensors", "--rename", tmp_path)
    assert folder.exit_code == 2 and "error[E902]: this is a folder; expected a file" in folder.stderr


def test_results_go_through_pipes(tmp_path: Path) -> None:
    spec = model(tmp_path, "model M {\n    input x: [n]\n    output y = 2 * x\n}\n")
    np.save(tmp_path / "x.npy", np.array([1.0, 2.0]))
    step = f"nablac run {spec}"
    done = shell(f"{step} {tmp_path}/x.npy -o - | {step} - -o - | {step} - --json")
    assert json.loads(done.stdout) == {"y": [8, 16]} and done.stderr == ""


def test_run_and_draw_with_json_describe_their_output(tmp_path: Path) -> None:
    done = invoke("run", SPECS / "mlp.model", SPECS / "data" / "digits.npz", "-o", tmp_path / "y.npy", "--json")
    written = {"output": str(tmp_path / "y.npy"), "outputs": {"logits": {"dtype": "float32", "shape": [150, 10]}}}
    assert json.loads(done.stdout) == written
    drawn = json.loads(invoke("draw", SPECS / "mlp.model", "--json").stdout)
    assert drawn["kind"] == "Mermaid" and drawn["text"].startswith("flowchart")


FOREIGN = {  # by element type: the shape of the input (None for any rank), the exit status, and a part of the output
    "uint64": (["n"], 0, "y: uint64[2]"),
    "int16": (["n"], 0, "y: int16[2]"),
    "bfloat16": (["n"], 0, "y: float32[2]"),
    "float": (None, 0, "y: float32[2]"),
    "string": (["n"], 2, "inputs must be tensors of numbers, got tensor(string) for `x`"),
    "sequence": (None, 2, "inputs must be tensors of numbers, got seq(tensor(float)) for `x`"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_model_takes_the_types_of_numpy_and_no_others(tmp_path: Path, kind: str) -> None:
    import onnx
    from onnx import TensorProto, helper

    shape, status, expected = FOREIGN[kind]
    if kind == "sequence":
        ends = [helper.make_tensor_sequence_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    else:
        ends = [helper.make_tensor_value_info(name, getattr(TensorProto, kind.upper()), shape) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, tmp_path / "foreign.onnx")
    np.save(tmp_path / "x.npy", np.array([1, 2]))
    done = invoke("run", tmp_path / "foreign.onnx", tmp_path / "x.npy")
    assert (done.exit_code, expected in done.stdout + done.stderr) == (status, True), done.stderr


def test_classes_that_a_model_stores_are_shown_by_name(tmp_path: Path) -> None:
    import onnx

    spec = model(tmp_path, "model M {\n    input x: [batch, 3]\n    output y = x\n}\n")
    assert invoke("compile", spec, "-o", tmp_path / "m.onnx", "-q").exit_code == 0
    proto = onnx.load(tmp_path / "m.onnx")
    proto.metadata_props.add(key="nablac.classes", value=json.dumps(["cat", "dog", "owl"]))
    onnx.save(proto, tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.array([[1.0, 3.0, 2.0]]))
    assert "dog: 3  owl: 2  cat: 1" in invoke("run", tmp_path / "m.onnx", tmp_path / "x.npy").stdout


def test_settings_and_presets_size_the_model(tmp_path: Path) -> None:
    def parameters(*options: str) -> int:
        done = invoke("compile", SPECS / "mlp.model", *options, "--json", "-o", tmp_path / "m.onnx")
        return int(json.loads(done.stdout)["parameters"])

    assert parameters("--set", "hidden=8") < parameters()


def test_verify_compares_both_runtimes() -> None:
    done = invoke("verify", SPECS / "lstm.model")
    assert done.exit_code == 0, done.stdout
    assert sum(" random " in line and line.endswith("  ok") for line in done.stdout.splitlines()) == 3
    assert "ok: `lstm`, NaN: onnxruntime's kernel" in done.stdout
    strict = invoke("verify", SPECS / "lstm.model", "--tolerance", "0")  # the two runtimes round differently
    assert strict.exit_code == 1 and " beyond 0e+00\nfirst: `lstm` at " in strict.stdout


def test_an_output_of_nothing_but_nan_is_not_verified(tmp_path: Path) -> None:
    spec = model(tmp_path, "model M {\n    input x: [batch, 3]\n    output y = log(x - 1000)\n    output z = x\n}\n")
    done = invoke("verify", spec)
    assert done.exit_code == 1
    random = [line for line in done.stdout.splitlines() if " random " in line]
    assert [line.split()[0] for line in random if "NaN everywhere" in line] == ["y"] * 3 and len(random) == 6
    assert done.stderr == "not verified: `y` is NaN everywhere\n"
    assert json.loads(invoke("verify", spec, "--json").stdout)["passed"] is False
    done = invoke("compile", spec, "-o", tmp_path / "m.onnx")
    assert done.exit_code == 0 and (tmp_path / "m.onnx").exists()
    assert "warning: `y` is NaN everywhere" in done.stderr and "`z`" not in done.stderr


def test_verify_and_compile_report_a_missing_kernel_alike(tmp_path: Path) -> None:
    line = "not verified: onnxruntime on this machine has no kernel for Conv, one of its operators"
    done = invoke("verify", SPECS / "cnn.model", "--dtype", "f64")
    assert done.exit_code == 2 and done.stderr.startswith(line) and done.stdout == ""
    done = invoke("compile", SPECS / "cnn.model", "--dtype", "f64", "-o", tmp_path / "m.onnx")
    assert done.exit_code == 0 and done.stderr.startswith(line) and ".part" not in done.stderr


@pytest.mark.parametrize("number", ["-1", "nan", "inf", "abc"])
def test_a_tolerance_is_a_finite_number_from_0_on(number: str) -> None:
    done = invoke("verify", SPECS / "mlp.model", f"--tolerance={number}")
    assert done.exit_code == 2 and "'--tolerance'" in done.stderr


def test_quiet_commands_print_only_results_and_errors(tmp_path: Path) -> None:
    for options in (("compile",), ("grad",), ("compile", "--train")):
        done = invoke(options[0], SPECS / "gru.model", *options[1:], "-q", "-o", tmp_path / "m.onnx")
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    done = invoke("draw", SPECS / "gru.model", "-q")
    assert done.stdout.startswith("flowchart") and done.stderr == ""


def test_a_verbose_run_shows_values_in_the_syntax_of_the_language() -> None:
    series = f"{SPECS}/data/airline-passengers.csv:passengers"
    done = invoke("run", SPECS / "forecaster.model", series, "-v")
    assert "  layer = the layer SimpleRNN\n" in done.stderr and "Defined(" not in done.stderr


def test_explain_prints_a_page() -> None:
    done = invoke("explain", "e901")
    assert done.exit_code == 0
    assert done.stdout.startswith("# E901")
    assert invoke("explain", "E999").exit_code == 2


def test_doctor_finds_what_is_installed() -> None:
    facts = json.loads(invoke("doctor", "--json").stdout)
    project = tomllib.loads((SPECS.parent / "pyproject.toml").read_text())["project"]
    assert list(facts["core"]) == [requirement.split(">=")[0] for requirement in project["dependencies"]]
    assert (Path(facts["models"]) / "forecaster.model").is_file()


def test_check_prints_warnings_which_are_no_failure(tmp_path: Path) -> None:
    path = model(tmp_path, "model M() {\n    input x: [4]\n    output x\n}\n")
    done = invoke("check", path)
    assert (done.exit_code, done.stdout) == (0, "") and done.stderr.startswith("warning[W302]: `x` has no axis")
    assert done.stderr.endswith("\n1 file checked, no errors, 1 warning\n")
    (warning,) = json.loads(invoke("check", "--json", path).stdout)["warnings"]
    assert (warning["code"], warning["severity"], warning["line"]) == ("W302", "warning", 2)
    assert "# W302: inputs without an axis" in invoke("explain", "w302").stdout
    assert invoke("check", "-q", path).stderr == ""

"""`nablac generate`, `compile --decode` and `draw --attention`, with a translator trained on a few pairs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from runtime.text.scores import chrf
from tests.command_line import invoke, shell
from tests.paths import ROOT

NUMBERS = {"one": "un", "two": "deux", "six": "six"}
THINGS = {"cat": "chat", "dog": "chien", "bird": "oiseau", "red cat": "chat rouge"}
PAIRS = [(f"{a} {b}", f"{THINGS[b]} {NUMBERS[a]}") for a in NUMBERS for b in THINGS]
TRAIN = """    epochs     200
    batch      12
    validation 0.0
    data       pairs("pairs.tsv") -> tokens(length: 20, most: 60)
}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small translator that was trained until it reproduces its sentences."""
    folder = tmp_path_factory.mktemp("translator")
    (folder / "pairs.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS))
    text = (ROOT / "specs" / "translate.model").read_text()
    text = text[: text.index("    epochs ")] + TRAIN
    (folder / "translate.model").write_text(text)
    sizes = ("--set", "width=32", "--set", "depth=1", "--set", "vocabulary=60", "--set", "dropout=0.0")
    done = invoke("train", str(folder / "translate.model"), *sizes, "-o", str(folder / "run"), "-q", "--backend", "ort")
    assert done.exit_code == 0, done.output
    return folder / "run"


def test_generate_needs_only_the_folder_of_a_run(run: Path) -> None:
    for source, target in PAIRS:
        done = invoke("generate", str(run), source, "-q")
        assert (done.exit_code, done.stdout) == (0, f"{target}\n")
    done = invoke("generate", str(run), "two red cat", "one bird", "--json", "--backend", "ort", "--beams", "3")
    assert json.loads(done.stdout) == [
        {"prompt": "two red cat", "text": "chat rouge deux"},
        {"prompt": "one bird", "text": "oiseau un"},
    ]


@pytest.mark.parametrize(
    "search", [(), ("--beams", "4"), ("--temperature", "0.7", "--top-k", "5", "--seed", "3")], ids=str
)
def test_all_forms_of_a_model_generate_the_same_text(run: Path, tmp_path: Path, search: tuple[str, ...]) -> None:
    spec, weights, tokenizer = run.parent / "translate.model", run / "weights.safetensors", run / "tokenizer.json"
    sizes = ("--set", "width=32", "--set", "depth=1", "--set", "vocabulary=60")
    options = (*sizes, "--weights", str(weights), "--tokenizer", str(tokenizer))
    done = invoke("compile", "--decode", str(spec), *options, "-o", str(tmp_path / "decode"))
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "decode").iterdir()) == ["start.onnx", "step.onnx"]
    assert invoke("compile", "--decode", str(run), "-o", str(tmp_path / "of_run")).exit_code == 0
    assert invoke("compile", str(spec), *options, "-o", str(tmp_path / "whole.onnx")).exit_code == 0
    prompts = ("six dog", "two cat", "one red cat")
    forms = (
        (str(run),),
        (str(run), "--backend", "ort"),
        (str(run), "--no-cache"),
        (str(spec), *options),
        (str(tmp_path / "decode"),),
        (str(tmp_path / "of_run"),),
        (str(tmp_path / "whole.onnx"),),
        (str(run / "model.onnx"),),
    )
    texts = [invoke("generate", form[0], *prompts, *form[1:], *search, "-q").stdout for form in forms]
    assert len(set(texts)) == 1 and texts[0].count("\n") == 3, texts


def test_prompts_come_from_a_file(run: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("one cat\ntwo dog\n")
    done = invoke("generate", str(run), "--input", str(tmp_path / "prompts.txt"))
    assert done.stdout == "chat un\nchien deux\n"
    assert "tokens in" in done.stderr
    (tmp_path / "prompts.txt").write_bytes("one cat\r\ntwo dog\r\n".encode("utf-16"))
    assert invoke("generate", str(run), "--input", str(tmp_path / "prompts.txt")).stdout == "chat un\nchien deux\n"


def test_one_bad_prompt_does_not_lose_the_others(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    lines = (b"\xef\xbb\xbfone cat", b"", "\u00e9t\u00e9".encode("latin-1"), b"two " * 40, "two\u2028dog".encode())
    file.write_bytes(b"\r\n".join(lines))
    done = invoke("generate", str(run), "--input", str(file), "--most-tokens", "20")
    assert (done.exit_code, done.stdout) == (2, "chat un\n\n\n\nchien deux\n")
    assert done.stderr.startswith(
        f"error[E852]: this prompt is empty\n --> {file}:2\nhelp: there is nothing to translate\n"
        f"error[E821]: this is not UTF-8 text\n --> {file}:3\n"
        f"error[E855]: a text of 40 tokens is too long: the limit is 20\n --> {file}:4\n"
        "help: shorten it, or raise `--most-tokens`\n"
        "4 tokens in "
    )
    done = invoke("generate", str(run), "--input", str(file), "--most-tokens", "20", "--json", "--batch", "1")
    answers = json.loads(done.stdout)
    assert [answer.get("text") for answer in answers] == ["chat un", None, None, None, "chien deux"]
    assert answers[1]["errors"][0]["code"] == "E852"


def test_line_breaks_in_answers_do_not_break_lines(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.generation.generator import Answer, Generator

    def answers(self: Generator, coded: Mapping[int, object], *how: object) -> Iterator[tuple[int, Answer]]:
        yield from ((number, Answer(f"{number}\nb\r\nc", 3)) for number in coded)

    monkeypatch.setattr(Generator, "answers", answers)
    (tmp_path / "prompts.txt").write_text("one cat\n")
    assert invoke("generate", run, "one cat", "two dog").stdout == "0\\nb\\r\\nc\n1\\nb\\r\\nc\n"
    assert invoke("generate", run, "--input", tmp_path / "prompts.txt").stdout == "0\\nb\\r\\nc\n"
    assert invoke("generate", run, "one cat").stdout == "0\nb\r\nc\n"  # as it is
    exact = json.loads(invoke("generate", run, "one cat", "two dog", "--json").stdout)
    assert [answer["text"] for answer in exact] == ["0\nb\r\nc", "1\nb\r\nc"]


def test_an_output_that_fails_is_reported_once(run: Path) -> None:
    done = shell(f"nablac generate {run} 'one cat' -q >&-")
    expected = "error[E904]: standard output cannot be written: Bad file descriptor\n"
    assert (done.returncode, done.stderr) == (2, expected)


def test_answers_are_printed_as_they_are_finished(run: Path) -> None:
    from runtime.generation.generator import Generator, Request

    generator = Generator.of_file(run / "model.onnx", "cpu")
    texts = ("one red cat", "one cat", "two dog", "two red cat")
    coded = {number: generator.encode(text, "prompt") for number, text in enumerate(texts)}
    order = [number for number, _ in generator.answers(coded, Request(batch=1))]
    assert order == [0, 1, 2, 3]
    assert [number for number, _ in generator.answers(coded, Request())] == [0, 3, 1, 2]


@pytest.mark.parametrize("search", [(), ("--beams", "3")], ids=str)
def test_generation_ends_at_a_stop_text(run: Path, search: tuple[str, ...]) -> None:
    for stop, text in (("deux", "chat rouge "), ("rouge deux", "chat "), ("t r", "cha"), ("zebra", "chat rouge deux")):
        done = invoke("generate", str(run), "two red cat", "--stop", stop, *search)
        assert done.stdout == f"{text}\n"
        assert f"{2 if stop == 't r' else 3} tokens in" in done.stderr
    assert invoke("generate", str(run), "two red cat", "--tokens", "1", "-q").stdout == "chat\n"


def test_a_possible_beginning_of_a_stop_text_is_held_back() -> None:
    from runtime.generation.generator import final_part

    assert [
        final_part(text, ("\n\nUser", "end")) for text in ("a\n", "a\n\nUs", "a\n\nYou", "the e", "the end", "a")
    ] == [
        "a",
        "a",
        "a\n\nYou",
        "the ",
        "the ",
        "a",
    ]


def test_unknown_tokens_are_noted(run: Path) -> None:
    done = invoke("generate", str(run), "two zebras")
    assert done.exit_code == 0
    assert "note: prompt 1 has a token that the model does not know" in done.stderr


def test_scores_of_generated_texts(run: Path, tmp_path: Path) -> None:
    spec, weights = run.parent / "translate.model", run / "weights.safetensors"
    sizes = ("--set", "width=32", "--set", "depth=1", "--set", "vocabulary=60")
    asked = ("--generate", "--part", "training", "--report", str(tmp_path / "report"), "--json")
    done = invoke("eval", str(spec), *sizes, "--weights", str(weights), *asked)
    scores = json.loads(done.stdout)
    assert scores["chrf"] == pytest.approx(100) and scores["examples"] == len(PAIRS)
    (facts,) = scores["figures"].values()
    assert facts["task"] == "tokens" and facts["perplexity"] < math.exp(scores["loss"])  # which smooths the labels
    assert facts["accuracy"] == pytest.approx(scores["masked_accuracy"])  # padding counts in neither
    html = (tmp_path / "report" / "report.html").read_text()
    assert "Generated texts" in html and PAIRS[0][0] in html


def test_a_run_is_evaluated_with_its_own_tokenizer(run: Path, tmp_path: Path) -> None:
    """A tokenizer learned from other data would number the words differently."""
    pairs = [pair for pair in PAIRS if "cat" not in pair[0]]
    (tmp_path / "few.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in pairs))
    sizes = ("--set", "width=32", "--set", "depth=1", "--set", "vocabulary=60", "--set", "dropout=0.0")
    arguments = (str(run.parent / "translate.model"), *sizes, "--data", str(tmp_path / "few.tsv"))
    weights = ("--weights", str(run / "weights.safetensors"))
    for more in ((), ("--tokenizer", str(run / "tokenizer.json"), "--beams", "3", "--length-penalty", "0.5")):
        done = invoke("eval", *arguments, *weights, "--generate", "--part", "training", "--json", *more)
        scores = json.loads(done.stdout)
        assert scores["chrf"] == pytest.approx(100) and scores["masked_accuracy"] == 1.0
    done = invoke("train", *arguments, *weights, "--epochs", "1", "-o", str(tmp_path / "more"), "-q")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "more" / "tokenizer.json").read_bytes() == (run / "tokenizer.json").read_bytes()


def test_texts_are_scored_against_those_of_the_data(run: Path, tmp_path: Path) -> None:
    """Words unknown to the tokenizer are missing in the generated text, but not in the reference."""
    (tmp_path / "new.tsv").write_text("two red cat\tchat rouge extraordinairement deux\n")
    sizes = ("--set", "width=32", "--set", "depth=1", "--set", "vocabulary=60")
    arguments = (str(run.parent / "translate.model"), *sizes, "--data", str(tmp_path / "new.tsv"))
    weights = ("--weights", str(run / "weights.safetensors"))
    done = invoke("eval", *arguments, *weights, "--generate", "--part", "training", "--json")
    assert json.loads(done.stdout)["chrf"] == pytest.approx(
        chrf(["chat rouge deux"], ["chat rouge extraordinairement deux"])
    )


def test_an_attention_is_drawn(run: Path, tmp_path: Path) -> None:
    done = invoke("draw", str(run), "--attention", "two red cat", "-o", str(tmp_path / "a.svg"))
    assert (done.exit_code, done.stdout) == (0, "chat rouge deux\n")
    drawn = ElementTree.parse(tmp_path / "a.svg").getroot()
    titles = [element.text or "" for element in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[0] == "Translate: decoder.block.0.cross_attention"
    assert len(titles) == 1 + 5 * 4 * 3  # 4 heads and their mean; <s> and 3 tokens attend to 3
    weights = [float(title.rsplit(" ", 1)[1]) for title in titles[1:13] if title.startswith("<s>")]
    assert sum(weights) == pytest.approx(1, abs=0.02)
    done = invoke(
        "draw", str(run), "--attention", "two cat", "--layer", "encoder.blok.0", "-o", str(tmp_path / "b.svg")
    )
    assert done.exit_code == 2 and done.stderr.startswith("error[E854]: Translate has no attention `encoder.blok.0`\n")
    assert not (tmp_path / "b.svg").exists()


ENCODERS = {
    "sentiment": ("sentiment", ("--set", "vocabulary=60"), "encoder.block.1.attention"),
    "sentence": ("sentence", ("--set", "depth=1"), "encoder.block.0.attention"),
    "bert": ("bert", (), "encoder.block.1.attention"),
}


@pytest.mark.parametrize("label", ENCODERS)
def test_the_attention_of_an_encoder_needs_no_generation(run: Path, tmp_path: Path, label: str) -> None:
    spec, sizes, layer = ENCODERS[label]
    options = ("--tokenizer", str(run / "tokenizer.json"), "-o", str(tmp_path / "a.svg"))
    done = invoke("draw", str(ROOT / "specs" / f"{spec}.model"), *sizes, "--attention", "two red cat", *options)
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"{layer}, 3 tokens that attend to 3" in done.stderr
    done = invoke("draw", str(ROOT / "specs" / f"{spec}.model"), *sizes, "--attention", "two " * 5000, *options)
    assert (done.exit_code, "error[E855]: a text of 5,000 tokens is too long" in done.stderr) == (2, True)


def test_a_compiled_model_has_no_attention_to_draw(run: Path, tmp_path: Path) -> None:
    done = invoke("draw", str(run / "model.onnx"), "--attention", "two cat", "-o", str(tmp_path / "a.svg"))
    assert done.exit_code == 2 and "is compiled, and its attention is one operator" in done.stderr


REFUSED = {
    "no such file": (("nowhere.model", "x"), 2, "error[E901]: there is no file nowhere.model"),
    "no prompt": (("{run}",), 2, "Error: there is no prompt"),
    "beams and a temperature": (("{run}", "x", "--beams", "2", "--temperature", "1"), 2, "Error: --beams searches"),
    "no tokenizer": (("{specs}/gpt.model", "x"), 2, "error[E853]: {specs}/gpt.model has no tokenizer"),
    "an empty prompt": (("{run}", ""), 2, "error[E852]: this prompt is empty"),
    "bytes that are not text": (("{run}", "two \udcff cat"), 2, "error[E821]: this is not UTF-8 text\n --> prompt 1"),
    "an empty stop": (("{run}", "x", "--stop", ""), 2, "Error: --stop needs a non-empty text"),
    "a seed below 0": (("{run}", "x", "--seed", "-1", "--temperature", "1"), 2, "Invalid value for '--seed'"),
    "a temperature of NaN": (
        ("{run}", "x", "--temperature", "nan"),
        2,
        "Error: Invalid value for '--temperature': nan is no",
    ),
    "a penalty of NaN": (("{run}", "x", "--repetition-penalty", "nan"), 2, "Invalid value for '--repetition-penalty'"),
    "a huge penalty": (("{run}", "x", "--beams", "3", "--length-penalty", "1e9"), 2, "'--length-penalty'"),
    "a device without NumPy": (("{run}", "x", "--device", "cuda"), 2, "Error: the NumPy runtime runs on the CPU only"),
    "a size of a compiled model": (
        ("{run}/model.onnx", "x", "--set", "width=3"),
        2,
        "Error: `--set` has no effect: {run}/model.onnx is already compiled",
    ),
    "a compiled model by NumPy": (
        ("{run}/model.onnx", "x", "--backend", "numpy"),
        2,
        "Error: `--backend numpy` cannot run",
    ),
    "a cache of a compiled model": (("{run}/model.onnx", "x", "--no-cache"), 2, "Error: `--no-cache` has no effect"),
    "a model that generates no text": (
        ("{specs}/mlp.model", "x", "--tokenizer", "{run}/tokenizer.json"),
        2,
        "error[E860]: MLP does not generate text",
    ),
    "a model that looks ahead": (
        ("{specs}/bert.model", "x", "--tokenizer", "{run}/tokenizer.json"),
        2,
        "error[E862]: BERT does not generate",
    ),
    "a tokenizer that does not fit": (
        ("{specs}/gpt.model", "x", "--set", "vocabulary=9", "--tokenizer", "{run}/tokenizer.json"),
        2,
        "error[E851]: the tokenizer has ",
    ),
    "weights of another size": (
        ("{specs}/gpt.model", "x", "--weights", "{run}/weights.safetensors", "--tokenizer", "{run}/tokenizer.json"),
        2,
        "error[E701]",
    ),
    "not the folder of a run": (("{specs}", "x"), 2, "error[E841]: {specs} is not the folder of a nablac run"),
}


@pytest.mark.parametrize("label", REFUSED)
def test_wrong_usage_gets_one_line(run: Path, label: str) -> None:
    arguments, status, message = REFUSED[label]
    names = {"run": str(run), "specs": str(ROOT / "specs")}
    done = invoke("generate", *(argument.format(**names) for argument in arguments))
    assert message.format(**names) in done.stderr, done.output
    assert "Traceback" not in done.output and done.exit_code == status


UNFIT = {
    "too small for its tokens": (("{specs}/gpt.model", "--set", "vocabulary=9"), "error[E851]: the tokenizer has "),
    "too small, step by step": (
        ("--decode", "{specs}/gpt.model", "--set", "vocabulary=9"),
        "error[E851]: the tokenizer has ",
    ),
    "not a text model": (("{specs}/mlp.model",), "error[E851]: MLP takes no tokens\n --> --tokenizer\n"),
    "a step that takes batches": (("--train", "{specs}/gpt.model"), "Error: a training step takes batches of tokens"),
}


@pytest.mark.parametrize("label", UNFIT)
def test_a_tokenizer_that_does_not_fit_is_not_stored(run: Path, tmp_path: Path, label: str) -> None:
    arguments, message = UNFIT[label]
    names = {"run": str(run), "specs": str(ROOT / "specs")}
    options = ("--tokenizer", str(run / "tokenizer.json"), "-o", str(tmp_path / "out"))
    done = invoke("compile", *(argument.format(**names) for argument in arguments), *options)
    assert message.format(**names) in done.stderr and done.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_long_line_is_an_error_or_an_answer_in_bounded_memory(run: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abcdefghij" * 50)
    spec = tmp_path / "gpt.model"
    text = (ROOT / "specs" / "gpt.model").read_text().replace("package:pydoc_data/topics.py", "text.txt")
    spec.write_text(text.replace("characters(length: 128)", "characters(length: 16)"))
    sizes = ("--set", "width=8", "--set", "depth=1", "--set", "vocabulary=20", "--epochs", "1")
    assert invoke("train", str(spec), *sizes, "-o", str(tmp_path / "run"), "-q").exit_code == 0
    done = invoke("generate", str(tmp_path / "run"), "abc" * 33_334, "--tokens", "2")
    assert done.exit_code == 2 and "Traceback" not in done.output
    assert done.stderr.startswith("error[E855]: a text of 100,002 tokens is too long: GPT has 128 positions\n")
    assert invoke("compile", "--decode", str(tmp_path / "run"), "-o", str(tmp_path / "decode")).exit_code == 0
    commands = [
        invoke("generate", str(tmp_path / name), "abcdefgh" * 15, "--tokens", "40", "-q")
        for name in ("run", "decode", "run/model.onnx")
    ]  # all end at the last position
    assert {done.exit_code for done in commands} == {0} and len({done.stdout for done in commands}) == 1


def test_a_resumed_run_keeps_its_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat and the dog sat on the cat " * 40)
    spec = tmp_path / "gpt.model"
    text = (ROOT / "specs" / "gpt.model").read_text().replace("package:pydoc_data/topics.py", "text.txt")
    spec.write_text(text.replace("characters(length: 128)", 'tokens(length: 16, kind: "unigram", most: 40)'))
    sizes = ("--set", "width=8", "--set", "depth=1", "--set", "vocabulary=40", "-q")
    halves = tmp_path / "halves"
    assert invoke("train", str(spec), *sizes, "--epochs", "2", "-o", str(halves)).exit_code == 0
    kept = (halves / "tokenizer.json").read_bytes()
    done = invoke("train", str(spec), "--resume", str(halves), "--epochs", "4", "-q")
    assert done.exit_code == 0, done.output
    assert (halves / "tokenizer.json").read_bytes() == kept
    assert invoke("generate", str(halves), "the cat", "--tokens", "3", "-q").exit_code == 0


def test_tokens_of_spacing_are_drawn_as_marks() -> None:
    from runtime.generation.attention_weights import _token_texts
    from runtime.text.learning import learn

    tokenizer = learn(["3.14 % a/b"], "words", 40)
    assert _token_texts(tokenizer, [2, *tokenizer.encode("3.14 %"), 3]) == (
        "<s>",
        "3",
        ".",
        "\u2040",
        "14",
        "\u2423",
        "%",
        "</s>",
    )

"""Columns of texts as rows of tokens: vocabularies, cut, missing and padded texts, and mistakes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammar.diagnostics import NablacError
from runtime.data.batches import Batches
from runtime.data.padding import Padding
from runtime.data.text_columns import TextColumns
from runtime.text.tokenizers import SPECIAL, LibraryTokenizer, ListTokenizer
from tests.runtime.data.descriptions import load, refused

INPUTS, TARGET = "review: i64[batch, T], x: f64[batch, 1]", "t: f64[batch, 1]"
COLUMNS = 'columns(inputs: ["review", "x"], targets: "t")'
TABLE = "review,x,t\nb a a,1,10\n a  b,2,20\nc,3,30\n"


def write(folder: Path, text: str = TABLE, name: str = "r.csv") -> None:
    (folder / name).write_text(text)


def test_texts_become_rows_of_tokens_beside_numbers(tmp_path: Path) -> None:
    write(tmp_path)
    examples = load(tmp_path, f'csv("r.csv") -> tokens(columns: "review") -> {COLUMNS}', INPUTS, TARGET)
    a, b, c = 5, 6, 7  # a is in the texts three times, b twice, after five special tokens
    assert examples.arrays["review"].tolist() == [[b, a, a], [a, b, 0], [c, 0, 0]]
    assert examples.arrays["x"].tolist() == [[1], [2], [3]]
    assert examples.arrays["t"].tolist() == [[10], [20], [30]]
    assert examples.columns == {"review": ("review",), "x": ("x",), "t": ("t",)}
    assert examples.padded


# A kind of tokenizer, what it learns of "ab a" and "ab" after five special tokens, and the tokens of "ab a"
LEARNT = {
    "characters": (["a", "b", " "], [5, 6, 7, 5]),  # a is there three times, b twice
    "words": (["ab", "a"], [5, 6]),
}


@pytest.mark.parametrize("kind", LEARNT)
def test_kinds_of_tokenizers(tmp_path: Path, kind: str) -> None:
    known, expected = LEARNT[kind]
    write(tmp_path, "review,t\nab a,1\nab,2\n")
    data = f'csv("r.csv") -> tokens(columns: "review", kind: "{kind}") -> columns(inputs: "review", targets: "t")'
    examples = load(tmp_path, data, "review: i64[batch, T]", TARGET)
    tokenizer = examples.tokenizers["review"]
    assert isinstance(tokenizer, ListTokenizer) and list(tokenizer.known) == known
    assert examples.arrays["review"][0].tolist() == expected


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_kinds_of_the_library(tmp_path: Path, kind: str) -> None:
    """What the library itself makes of the texts with the tokenizer that was learnt."""
    texts = ["low lower lowest", "new newer newest", "low new"] * 3
    write(tmp_path, "review,t\n" + "".join(f"{text},{number}\n" for number, text in enumerate(texts)))
    reads = f'csv("r.csv") -> tokens(columns: "review", kind: "{kind}", most: 40)'
    data = f'{reads} -> columns(inputs: "review", targets: "t")'
    examples = load(tmp_path, data, "review: i64[batch, T]", TARGET)
    tokenizer = examples.tokenizers["review"]
    assert isinstance(tokenizer, LibraryTokenizer) and tokenizer.kind == kind
    for row, text in zip(examples.arrays["review"], texts, strict=True):
        ids = tokenizer.library.encode(text).ids
        assert row.tolist() == ids + [0] * (examples.arrays["review"].shape[1] - len(ids))


def test_the_tokenizer_of_a_file_and_the_tokens_around_a_text(tmp_path: Path) -> None:
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "film"]
    (tmp_path / "vocab.txt").write_text("\n".join(entries) + "\n")
    write(tmp_path, "review,t\nGood film,1\nbad,2\nfilm film film film,3\n")
    notes: dict[str, list[str]] = {}
    data = (
        'csv("r.csv") -> tokens(columns: "review", kind: "vocab.txt", length: 5)'
        ' -> columns(inputs: "review", targets: "t")'
    )
    examples = load(tmp_path, data, "review: i64[batch, T]", TARGET, notes=notes)
    assert examples.arrays["review"].tolist() == [[2, 4, 5, 3, 0], [2, 1, 3, 0, 0], [2, 5, 5, 5, 3]]
    assert notes == {"`review` is cut after 5 tokens": [f"{tmp_path}/r.csv:4"]}


def test_columns_share_a_vocabulary_or_have_their_own(tmp_path: Path) -> None:
    write(tmp_path, "title,review,t\nz,a a,1\nz,a z,2\n")
    inputs = "title: i64[batch, S], review: i64[batch, T]"
    end = 'columns(inputs: ["title", "review"], targets: "t")'
    shared = load(tmp_path, f'csv("r.csv") -> tokens(columns: ["title", "review"]) -> {end}', inputs, TARGET)
    assert shared.arrays["title"].tolist() == [[6], [6]]  # a and z are there three times each: a is the first
    assert shared.arrays["review"].tolist() == [[5, 5], [5, 6]]
    assert shared.tokenizers["title"] is shared.tokenizers["review"]
    apart = f'csv("r.csv") -> tokens(columns: "title") -> tokens(columns: "review") -> {end}'
    own = load(tmp_path, apart, inputs, TARGET)
    assert own.arrays["title"].tolist() == [[5], [5]]
    assert own.arrays["review"].tolist() == [[5, 5], [5, 6]]


def test_the_vocabulary_is_that_of_the_training_part(tmp_path: Path) -> None:
    write(tmp_path, "review,t\n" + "".join(f"w{number} both,{number}\n" for number in range(20)))
    reads = 'csv("r.csv") -> split(validation: 0.25) -> tokens(columns: "review")'
    data = f'{reads} -> columns(inputs: "review", targets: "t")'
    examples = load(tmp_path, data, "review: i64[batch, T]", TARGET)
    training = examples.parts["training"].tolist()
    assert len(training) == 15
    tokenizer = examples.tokenizers["review"]
    assert isinstance(tokenizer, ListTokenizer)
    assert tokenizer.known == ("both", *sorted(f"w{number}" for number in training))
    for row in examples.parts["validation"]:
        assert examples.arrays["review"][row].tolist() == [1, 5]


def test_missing_texts(tmp_path: Path) -> None:
    write(tmp_path, "review,x,t\na,1,10\n  ,2,20\n,3,30\nb,4,40\n")
    skipped: list[str] = []
    stages = f'csv("r.csv") -> tokens(columns: "review") -> {COLUMNS}'
    examples = load(tmp_path, stages, INPUTS, TARGET, skip_broken=True, skipped=skipped)
    assert examples.arrays["x"].ravel().tolist() == [1, 4]
    place = f"{tmp_path}/r.csv"
    assert skipped == [
        f"{place}:3: column `review`: the text is missing",
        f"{place}:4: column `review`: the text is missing",
    ]
    kept = load(tmp_path, stages.replace('"review")', '"review", empty: true)', 1), INPUTS, TARGET)
    assert kept.arrays["review"].tolist() == [[5], [1], [1], [6]]  # the unknown token, which is no padding


def test_rows_without_a_number_are_filled_beside_texts(tmp_path: Path) -> None:
    write(tmp_path, "review,x,t\na,1,10\nb,,20\nc,5,\nd,3,40\n")
    data = f'csv("r.csv") -> fill("mean") -> tokens(columns: "review") -> {COLUMNS}'
    examples = load(tmp_path, data, INPUTS, TARGET)
    assert examples.arrays["x"].ravel().tolist() == [1, 2, 3]  # the row without a target is left out
    assert examples.arrays["review"].ravel().tolist() == [5, 6, 7]  # nor are its words learnt


def test_a_fixed_width_is_filled_up(tmp_path: Path) -> None:
    write(tmp_path)
    inputs = "review: i64[batch, 4], x: f64[batch, 1]"
    examples = load(tmp_path, f'csv("r.csv") -> tokens(columns: "review") -> {COLUMNS}', inputs, TARGET)
    assert examples.arrays["review"].tolist() == [[6, 5, 5, 0], [5, 6, 0, 0], [7, 0, 0, 0]]


def test_inputs_of_other_names_take_texts_by_their_type(tmp_path: Path) -> None:
    write(tmp_path)
    inputs = "words: i64[batch, T], numbers: f64[batch, 1]"
    examples = load(tmp_path, f'csv("r.csv") -> tokens(columns: "review") -> {COLUMNS}', inputs, TARGET)
    assert examples.arrays["numbers"].ravel().tolist() == [1, 2, 3]
    assert examples.arrays["words"].shape == (3, 3)
    assert examples.columns["words"] == ("review",)


def test_a_column_of_texts_may_have_any_name(tmp_path: Path) -> None:
    write(tmp_path, TABLE.replace("review", "input"))
    data = 'csv("r.csv") -> tokens(columns: "input") -> columns(inputs: ["input", "x"], targets: "t")'
    examples = load(tmp_path, data, "input: i64[batch, T], x: f64[batch, 1]", TARGET)
    assert examples.arrays["input"].tolist() == [[6, 5, 5], [5, 6, 0], [7, 0, 0]]
    assert examples.arrays["x"].ravel().tolist() == [1, 2, 3]


def test_json_lines_with_null(tmp_path: Path) -> None:
    rows = [{"review": "a b", "x": 1, "t": 1}, {"review": None, "x": 2, "t": 2}]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = f'json("r.jsonl") -> tokens(columns: "review", empty: true) -> {COLUMNS}'
    assert load(tmp_path, data, INPUTS, TARGET).arrays["review"].tolist() == [[5, 6], [1, 0]]


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        pyarrow.table({"review": ["a b", "b"], "x": [1.0, 2.0], "t": [1.0, 2.0]}), tmp_path / "r.parquet"
    )
    data = f'parquet("r.parquet") -> tokens(columns: "review") -> {COLUMNS}'
    assert load(tmp_path, data, INPUTS, TARGET).arrays["review"].tolist() == [[6, 5], [5, 0]]


WORDS = st.lists(st.sampled_from(["red", "green", "blue", "!"]), min_size=1, max_size=9)


@given(st.lists(WORDS, min_size=1, max_size=12), st.integers(1, 6))
def test_rows_are_the_first_words_by_frequency(texts: list[list[str]], length: int) -> None:
    counted = Counter(word for text in texts for word in text)
    ranked = sorted(counted, key=lambda word: (-counted[word], word))
    tokenizer = ListTokenizer("words", tuple(ranked))
    request = TextColumns(("review",), length, 100)
    for text in texts:
        row, is_cut = request.row_of(tokenizer, "  ".join(text), "here")
        assert row == [len(SPECIAL) + ranked.index(word) for word in text][:length]
        assert is_cut == (len(text) > length)


def test_batches_are_as_wide_as_their_longest_text(tmp_path: Path) -> None:
    """Also where the texts have another padding token than 0; numbers that are equal to it stay."""
    entries = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "a", "b"]
    (tmp_path / "vocab.txt").write_text("\n".join(entries) + "\n")
    write(tmp_path, "review,k,l,t\na,1,1,1\na b,1,0,2\na b a b,0,1,3\n")
    data = (
        'csv("r.csv") -> tokens(columns: "review", kind: "vocab.txt")'
        ' -> columns(inputs: ["review", "k", "l"], targets: "t")'
    )
    examples = load(tmp_path, data, "review: i64[batch, T], pair: i64[batch, 2]", TARGET)
    assert examples.arrays["review"].tolist()[0] == [2, 4, 3, 1, 1, 1]
    padding = Padding.of_examples(examples)
    assert padding.axes == {"review": "review"} and padding.tokens == {"review": 1}
    widths = [(batch["review"].shape, batch["pair"].tolist()) for batch in Batches(examples, "training", 2).epoch(1)]
    assert widths == [((2, 4), [[1, 1], [1, 0]]), ((1, 6), [[0, 1]])]


READS = 'csv("r.csv") -> tokens(columns: "review")'
# The stages after the source, the model's inputs, and the diagnostic
REFUSED: dict[str, tuple[str, str, str]] = {
    "a column that is not there": (
        f'tokens(columns: "reviews") -> {COLUMNS}',
        INPUTS,
        "E822 : HERE/r.csv has no column `reviews`",
    ),
    "a missing text": (
        f'tokens(columns: "gap") -> {COLUMNS.replace("review", "gap")}',
        INPUTS,
        "E821 HERE/r.csv:3: column `gap`: the text is missing",
    ),
    "a target": (
        'tokens(columns: "review") -> columns(inputs: "x", targets: "review")',
        INPUTS,
        "E823 : column `review` is a target, and `tokens` of a table is for inputs",
    ),
    "filled texts": (
        f'fill("mean", columns: "review") -> tokens(columns: "review") -> {COLUMNS}',
        INPUTS,
        "E823 : column `review` holds texts, and `fill` is for numbers",
    ),
    "an input of floats": (
        f'tokens(columns: "review") -> {COLUMNS}',
        "review: f32[batch, T], x: f64[batch, 1]",
        "E824 : column `review` holds texts, and the model's `review` is f32[batch, T]",
    ),
    "texts wider than the input": (
        f'tokens(columns: "review") -> {COLUMNS}',
        "review: i64[batch, 2], x: f64[batch, 1]",
        "E824 : texts of `review` have up to 3 tokens, and the model's `review` is i64[batch, 2]",
    ),
    "no input for the texts": (
        f'tokens(columns: "review") -> {COLUMNS}',
        "x: f64[batch, 1]",
        "E824 : no input of the model is left for the texts of `review`",
    ),
    "an unknown kind": (
        f'tokens(columns: "review", kind: "wrods") -> {COLUMNS}',
        INPUTS,
        "E850 : there is no tokenizer `wrods`",
    ),
    "windows": (
        'tokens(columns: "x") -> window("x", length: 2)',
        "x: f64[batch, T, 1]",
        "E823 : a window holds numbers, and `tokens` of `x` is for `columns(...)`",
    ),
    "no place for a text": (
        f'tokens(columns: "review", kind: "vocab.txt", length: 2) -> {COLUMNS}',
        INPUTS,
        "E823 : `length: 2` leaves no place between the 2 tokens around a text",
    ),
    "no text at all": (
        f'tokens(columns: "none", empty: true) -> {COLUMNS.replace("review", "none")}',
        "none: i64[batch, T], x: f64[batch, 1]",
        "E823 : no row of the training part has a text in `none`",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_texts_that_cannot_be_read_are_refused(tmp_path: Path, case: str) -> None:
    stages, inputs, expected = REFUSED[case]
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n")
    write(tmp_path, "review,gap,none,x,t\nb a a,a,,1,10\na b,,,2,20\nc,b,,3,30\n")
    assert refused(tmp_path, f'csv("r.csv") -> {stages}', inputs=inputs, target=TARGET) == expected


def test_the_error_for_a_missing_text_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, "review,x,t\n,1,10\n")
    with pytest.raises(NablacError) as caught:
        load(tmp_path, f"{READS} -> {COLUMNS}", INPUTS, TARGET)
    assert caught.value.diagnostics[0].hint == (
        '`tokens(columns: "review", empty: true)` reads it as a text without words; `--skip-broken` skips its row'
    )

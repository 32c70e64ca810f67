"""The trained translator: training sentences it reproduces, and held-out ones against a dictionary of the same pairs.

`python -m benchmarks.translation [RUN]` takes a run of `nablac train specs/translate.model`, or trains one (minutes).
Nothing here is timed. Needs `pip install 'nablac[data]'`.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from compiler.elaborate.models import TextSource
from compiler.elaborate.program import load
from runtime.generation.generator import Generator, Request
from runtime.text.scores import bleu, chrf
from runtime.text.words import SPACING, pieces
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from runtime.weights import load_weights

SPEC = Path(__file__).parents[1] / "specs" / "translate.model"
ROUNDS = 10  # of the dictionary's expectation-maximisation


def dictionary(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """For each word the likeliest translation: IBM's model 1 (Brown et al. 1993), with an empty word on the left."""
    coded = [([*words_of(source), ""], words_of(target)) for source, target in pairs]
    shares: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(lambda: 1.0))
    for _ in range(ROUNDS):
        counted: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for source, target in coded:
            for word in target:
                total = sum(shares[each][word] for each in source)
                for each in source:
                    counted[each][word] += shares[each][word] / total
        shares = {  # type: ignore[assignment]
            each: defaultdict(float, {word: count / sum(counts.values()) for word, count in counts.items()})
            for each, counts in counted.items()
        }
    return {each: max(counts, key=lambda word: counts[word]) for each, counts in shares.items() if counts}


def words_of(text: str) -> list[str]:
    """The words and signs of a text."""
    return [piece for piece in pieces(text, "words") if piece not in SPACING]


def main(run: str | None) -> int:
    training = Training(TextSource(load(SPEC)), options=Options(backend="ort"))
    if run is None:
        loop = training.loop()
        loop.events.epoch = lambda position, row: print(".", end="", flush=True, file=sys.stderr)
        loop.run()
        print(file=sys.stderr)
        weights = training.model_weights(loop.best or loop.stepper.state())
    else:
        weights = load_weights(Path(run) / "weights.safetensors", training.inference.graph)
    data, tokenizer = training.data, training.data.tokenizer
    assert tokenizer is not None
    generator = Generator.of_graph(training.inference.graph, weights, tokenizer, "ort", "cpu")
    texts: dict[str, tuple[list[str], list[str]]] = {}
    for part in ("training", "validation"):
        sources, truths = zip(*(data.texts[index] for index in data.parts[part]), strict=True)
        texts[part] = [" ".join(each.split()) for each in sources], [" ".join(each.split()) for each in truths]
    words = dictionary(list(zip(*texts["training"], strict=True)))
    sources, truths = texts["training"]
    translations = generator.generate(sources, Request(60))
    same = sum(ours == theirs for ours, theirs in zip(translations, truths, strict=True)) / len(truths)
    print(f"training:  {same:.1%} of {len(truths)} sentences word for word, chrF {chrf(translations, truths):.1f}")
    sources, truths = texts["validation"]
    ours = {beams: generator.generate(sources, Request(60, beams=beams)) for beams in (1, 4)}
    by_word = [" ".join(words.get(word, word) for word in words_of(source)) for source in sources]
    for name, translations in (("greedy", ours[1]), ("4 beams", ours[4]), ("word by word", by_word)):
        scores = f"chrF {chrf(translations, truths):5.1f}  BLEU {bleu(translations, truths):5.1f}"
        print(f"held out:  {name:<13} {scores}  of {len(truths)} sentences")
    fine = same >= 0.9 and chrf(ours[1], truths) > chrf(by_word, truths)
    print("ok" if fine else "below the bar: 90 % of the training sentences, and better than word by word")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else None))

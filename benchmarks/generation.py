"""Time per token of greedy generation: with the derived cache, without it, and Hugging Face's `generate` with its own.

`python -m benchmarks.generation`: GPT-2's shape, random weights, the same in all, 64 and 256 new tokens after 16; each
in a process of its own, in turns, the median of rounds. Needs the extra `oracle`.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SPECS = Path(__file__).parents[1] / "specs"
SIZES = {"small": (256, 4, 4, 1000), "gpt2": (768, 12, 12, 50257)}  # width, heads, depth, vocabulary
TOKENS, PROMPT, ROUNDS = 256, 16, 3
WAYS = ("ort", "numpy", "ort uncached", "transformers")


def seconds(size: str, way: str, tokens: int) -> float:
    """The time of one token, the prompt's included."""
    import torch
    import transformers

    width, heads, depth, vocabulary = SIZES[size]
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=vocabulary, n_positions=512, n_embd=width, n_layer=depth, n_head=heads, eos_token_id=None
    )
    module = transformers.GPT2LMHeadModel(config).eval()
    prompt = np.random.default_rng(0).integers(3, vocabulary, (1, PROMPT))
    if way == "transformers":
        inputs = torch.from_numpy(prompt)
        mask = torch.ones_like(inputs)

        def run() -> Any:
            with torch.no_grad():
                return module.generate(
                    inputs, attention_mask=mask, max_new_tokens=tokens, do_sample=False, pad_token_id=0
                )
    else:
        from dataclasses import replace

        from compiler.decode import decode
        from compiler.elaborate.models import TextSource
        from compiler.elaborate.program import load
        from compiler.passes.pipeline import optimize
        from runtime.generation.decoders import Cached, Decoder, Layout, Recomputing
        from runtime.generation.decoding import Limits, sample
        from runtime.generation.machines import machine
        from runtime.weights import fit_weights, read_renames

        hypers = {"width": width, "heads": heads, "depth": depth, "vocabulary": vocabulary, "context": 512}
        graph = TextSource(load(SPECS / "gpt.model"), hypers=hypers).spec(training=False).graph
        state = {name: each.numpy() for name, each in module.state_dict().items()}
        weights = fit_weights(state, graph, "gpt2", read_renames([str(SPECS / "renames" / "gpt2.rules")]))
        backend, _, uncached = way.partition(" ")
        if uncached:
            decoder: Decoder = Recomputing("tokens", "logits", machine(optimize(graph), weights, backend, "cpu"))
        else:
            step = decode(graph)
            step = replace(step, step=optimize(step.step))
            decoder = Cached(Layout.of(step), None, machine(step.step, weights, backend, "cpu"))
        del module, state

        def run() -> Any:
            return sample(decoder, prompt, {}, Limits(tokens))

    run()
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) / tokens


def in_process(size: str, way: str, tokens: int) -> float:
    command = [sys.executable, "-m", "benchmarks.generation", "--seconds", size, way, str(tokens)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def main() -> None:
    print(f"{'ms a token':<10} {'tokens':>7}" + "".join(f"{way:>14}" for way in WAYS) + "   transformers / ort")
    for size in SIZES:
        for tokens in (64, TOKENS):
            taken: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(ROUNDS):
                for way in WAYS:
                    if way == "ort uncached" and (size, tokens) == ("gpt2", TOKENS):
                        continue  # minutes, to say what 64 tokens say
                    taken[way].append(in_process(size, way, tokens))
            medians = {way: statistics.median(each) * 1000 if each else float("nan") for way, each in taken.items()}
            shown = "".join(f"{medians[way]:14.2f}" for way in WAYS)
            print(f"{size:<10} {tokens:>7}{shown}   {medians['transformers'] / medians['ort']:.2f}x", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--seconds"]:
        print(json.dumps(seconds(sys.argv[2], sys.argv[3], int(sys.argv[4]))))
    else:
        main()

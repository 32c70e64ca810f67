"""Learning tokenizers from texts, deterministically: the same texts give the same tokenizer in every process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError, did_you_mean
from runtime.text.tokenizers import KINDS, LEARNT, SPECIAL, UNKNOWN, LibraryTokenizer, ListTokenizer, Tokenizer, library
from runtime.text.words import pieces


def learn(texts: Iterable[str], kind: str, most: int) -> Tokenizer:
    """A tokenizer of at most `most` tokens for texts, which are read several times; NablacError for an unknown kind."""
    if kind in LEARNT:
        return {"bpe": _byte_pairs, "wordpiece": _word_pieces, "unigram": _unigrams}[kind](texts, most)
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS) or f"the choices are {', '.join(KINDS)}"
        raise NablacError(Diagnostic(codes.E850, f"there is no tokenizer `{kind}`", hint=hint))
    return learn_list((pieces(text, kind) for text in texts), kind, most)


def learn_list(texts: Iterable[list[str]], kind: str, most: int) -> ListTokenizer:
    """The tokenizer of the most frequent pieces of texts."""
    counted: Counter[str] = Counter()
    for parts in texts:
        counted.update(parts)
    ranked = sorted(counted, key=lambda token: (-counted[token], token))  # a fixed order of equal counts
    return ListTokenizer(kind, tuple(ranked[: max(0, most - len(SPECIAL))]))


def _byte_pairs(texts: Iterable[str], most: int) -> LibraryTokenizer:
    """Byte-pair encoding: the most frequent pairs of pieces are merged first (Sennrich et al. 2016)."""
    tokenizers = library()
    learnt = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=SPECIAL[UNKNOWN]))
    learnt.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    learnt.decoder = tokenizers.decoders.Metaspace()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=most, special_tokens=list(SPECIAL), show_progress=False)
    learnt.train_from_iterator(texts, trainer)
    return LibraryTokenizer("bpe", learnt)


def _unigrams(texts: Iterable[str], most: int) -> LibraryTokenizer:
    """A unigram model (Kudo 2018), learnt here: the library's trainer sums in the random order of a hash table."""
    from runtime.text.unigram import learn_pieces

    tokenizers = library()
    space = tokenizers.pre_tokenizers.Metaspace()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in space.pre_tokenize_str(text))
    scored = learn_pieces(words, most - len(SPECIAL))
    vocabulary = [*((token, 0.0) for token in SPECIAL), *scored]
    learnt = tokenizers.Tokenizer(tokenizers.models.Unigram(vocabulary, unk_id=UNKNOWN))
    learnt.pre_tokenizer = space
    learnt.decoder = tokenizers.decoders.Metaspace()
    learnt.add_special_tokens(list(SPECIAL))
    return LibraryTokenizer("unigram", learnt)


def _word_pieces(texts: Iterable[str], most: int) -> LibraryTokenizer:
    """WordPiece (Schuster and Nakajima 2012).

    The library's trainer numbers letters inside words in the random order of a hash table: so they are numbered before
    it begins. Words end at white space, so that decoding restores the text.
    """
    tokenizers = library()
    letters = sorted({letter for text in texts for letter in text if not letter.isspace()})
    numbered = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    learnt = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token=SPECIAL[UNKNOWN]))
    learnt.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    size = max(most, len(numbered))
    learnt.train_from_iterator(
        texts, tokenizers.trainers.WordPieceTrainer(vocab_size=size, special_tokens=numbered, show_progress=False)
    )
    numbered_pieces = sorted(learnt.get_vocab().items(), key=lambda pair: pair[1])[:most]
    plain = tokenizers.Tokenizer(tokenizers.models.WordPiece(dict(numbered_pieces), unk_token=SPECIAL[UNKNOWN]))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    plain.decoder = tokenizers.decoders.WordPiece(cleanup=False)
    plain.add_special_tokens(list(SPECIAL))
    return LibraryTokenizer("wordpiece", plain)

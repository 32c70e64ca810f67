"""The diagnostics of mistakes in text (E101 to E139), in the contents of files (E14x) and in their names (E90x)."""

from __future__ import annotations

import unicodedata

from grammar import codes
from grammar.diagnostics import Diagnostic, Label, did_you_mean_file
from grammar.limits import MOST_BYTES, MOST_EXPRESSION_DEPTH, MOST_INTEGER_DIGITS, MOST_NESTING, MOST_TOKENS
from grammar.source import Source, Span
from grammar.syntax import Declared

# Single tokens


def unclosed_bracket(opener: Span, closer: Span | None) -> Diagnostic:
    labels = (Label(closer, "closes another bracket first"),) if closer is not None and closer.text else ()
    return Diagnostic(codes.E101, f"`{opener.text}` is never closed", opener, "opened here", labels)


def wrong_closer(opener: Span, closer: Span, meant: str) -> Diagnostic:
    labels = (Label(opener, "opened here"),)
    return Diagnostic(
        codes.E101, f"`{closer.text}` does not close `{opener.text}`", closer, None, labels, f"write `{meant}`"
    )


def unmatched_closer(span: Span) -> Diagnostic:
    return Diagnostic(codes.E102, f"unmatched `{span.text}`", span, "no bracket is open here")


def unclosed_string(span: Span) -> Diagnostic:
    hint = "a string must end on its line; write `\\n` for a line break"
    return Diagnostic(codes.E103, 'missing closing `"`', span, "starts here", hint=hint)


def unclosed_docstring(span: Span) -> Diagnostic:
    return Diagnostic(codes.E104, 'missing closing `"""`', span, "starts here")


def stray_character(span: Span, likely: str | None, blank: bool) -> Diagnostic:
    if span.end - span.start > 1 and not blank:
        return Diagnostic(codes.E105, "these characters are not part of the language", span)
    sign = span.source.text[span.start]
    name = unicodedata.name(sign, "").lower()
    description = f"the {name} (U+{ord(sign):04X})" if name else f"the character U+{ord(sign):04X}"
    shown = f"`{sign}`" if " " < sign < "\x7f" else description
    hint = f"write `{likely}`" if likely else "write an ordinary space" if blank else None
    return Diagnostic(codes.E105, f"{shown} is not part of the language", span, hint=hint)


def malformed_number(span: Span) -> Diagnostic:
    hint = "numbers look like `3`, `0.5`, `1e-3` or `1_000`"
    return Diagnostic(codes.E106, f"`{_short(span)}` is not a number", span, hint=hint)


def integer_too_long(span: Span) -> Diagnostic:
    note = f"{len(span.text)} digits; at most {MOST_INTEGER_DIGITS} fit"
    return Diagnostic(codes.E107, "integer too large", span, note, hint="write a large value as a float, `1e30`")


def number_too_large(span: Span) -> Diagnostic:
    return Diagnostic(codes.E107, "number too large", span, "beyond the largest float, about 1.8e308")


def unknown_escape(span: Span) -> Diagnostic:
    hint = r"the escapes are `\"`, `\\`, `\n` and `\t`"
    return Diagnostic(codes.E108, f"`{span.text}` is not an escape", span, hint=hint)


def single_quotes(span: Span) -> Diagnostic:
    hint = f'write `"{span.text[1:-1]}"`; a single quote after a name marks its next value'
    return Diagnostic(codes.E109, "strings are written in double quotes", span, hint=hint)


def curly_quotes(span: Span) -> Diagnostic:
    return Diagnostic(codes.E109, "strings are written in double quotes", span, hint=f'write `"{span.text[1:-1]}"`')


def foreign_sign(sign: str, meant: str, span: Span) -> Diagnostic:
    return Diagnostic(codes.E110, f"`{sign}` is not an operator", span, hint=f"write `{meant}`")


def power_written_as_caret(span: Span) -> Diagnostic:
    return Diagnostic(codes.E111, "`^` is not an operator", span, hint="a power is `x ** 2`, a transpose `x^T`")


def misplaced_prime(span: Span) -> Diagnostic:
    note = "only the name of a state, buffer or parameter takes a prime, and only one"
    return Diagnostic(codes.E112, "misplaced prime", span, note)


# Limits


def nested_too_deeply(span: Span) -> Diagnostic:
    note = f"more than {MOST_NESTING} brackets and blocks are open here"
    return Diagnostic(codes.E126, "brackets or blocks nested too deeply", span, note)


def too_deep(span: Span) -> Diagnostic:
    note = f"more than {MOST_EXPRESSION_DEPTH:,} nested operators"
    hint = "name parts of it on separate lines"
    return Diagnostic(codes.E127, "expression too deep", span, note, hint=hint)


def too_many_tokens(span: Span) -> Diagnostic:
    note = f"more than {MOST_TOKENS:,} tokens up to here"
    return Diagnostic(
        codes.E128, "the file is too long", span, note, hint="keep data in a data file, and split the model"
    )


# Statements and expressions


def missing_type(kind: str, name: Declared) -> Diagnostic:
    example = {"buffer": "[features]", "target": "f32[batch, 1]"}.get(kind, "[batch, features]")
    hint = f"write `{kind} {name.name.text}: {example}`"
    return Diagnostic(codes.E121, f"{article(kind)} `{kind}` needs a type", name.name.span, "missing type", hint=hint)


def second_ellipsis(first: Span, second: Span) -> Diagnostic:
    label = Label(first, "first here")
    return Diagnostic(
        codes.E136,
        "a shape has at most one `...`",
        second,
        "it is ambiguous which axes each of them stands for",
        (label,),
    )


def conditional_in_a_pipe(conditional: Span, arrow: Span) -> Diagnostic:
    label = Label(conditional, "the conditional")
    hint = "add parentheses: `(x -> A()) if c else (x -> B())`, or `x -> (A() if c else B()) -> C()`"
    message = "ambiguous `->`: it may continue the whole conditional or only its last branch"
    return Diagnostic(codes.E424, message, arrow, None, (label,), hint)


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _short(span: Span) -> str:
    text = span.text
    return text if len(text) <= 40 else text[:37] + "..."


# Files


def missing_file(name: str, beside: tuple[str, ...]) -> Diagnostic:
    return Diagnostic(codes.E901, "there is no such file", place=_printable(name), hint=did_you_mean_file(name, beside))


def is_directory(name: str) -> Diagnostic:
    return Diagnostic(codes.E902, "this is a folder, not a `.model` file", place=_printable(name))


def unreadable(name: str, reason: str) -> Diagnostic:
    return Diagnostic(codes.E903, "the file cannot be read", place=_printable(name), note=reason)


def not_utf8(name: str, line: int, byte: int) -> Diagnostic:
    note = f"byte 0x{byte:02x} on line {line}"
    hint = "save it as UTF-8"
    return Diagnostic(codes.E140, "the file is not UTF-8 text", place=_printable(name), note=note, hint=hint)


def other_encoding(name: str, encoding: str) -> Diagnostic:
    note = f"it starts with the byte order mark of {encoding.upper()}"
    hint = "save it as UTF-8"
    return Diagnostic(codes.E140, "the file is not UTF-8 text", place=_printable(name), note=note, hint=hint)


def binary(name: str, note: str) -> Diagnostic:
    return Diagnostic(codes.E141, "the file is binary, not text", place=_printable(name), note=note)


def lfs_pointer(name: str) -> Diagnostic:
    hint = "fetch it with `git lfs pull`"
    return Diagnostic(
        codes.E142, "the file is a Git LFS pointer, not the file itself", place=_printable(name), hint=hint
    )


def file_too_large(name: str) -> Diagnostic:
    note = f"more than {MOST_BYTES // 1024**2} MiB"
    hint = "keep data and weights in files of their own"
    return Diagnostic(codes.E143, "the file is too large for a model", place=_printable(name), note=note, hint=hint)


def too_large(source: Source, size: int) -> Diagnostic:
    note = f"{size:,} characters; at most {MOST_BYTES:,}"
    hint = "keep data and weights in files of their own"
    return Diagnostic(
        codes.E143, "the text is too large for a model", place=_printable(source.name), note=note, hint=hint
    )


def trained_model(name: str, kind: str) -> Diagnostic:
    hint = "pass the network's `.model` file here, and its weights with `--weights FILE.safetensors`"
    return Diagnostic(codes.E144, _TRAINED, place=_printable(name), note=f"it is {kind}", hint=hint)


def file_of_arrays(name: str, kind: str) -> Diagnostic:
    message = "this is a file of arrays, not a `.model` file"
    hint = "name the network's `.model` file here; arrays are its weights, for `--weights`, or inputs of `nablac run`"
    return Diagnostic(codes.E144, message, place=_printable(name), note=f"it is {kind}", hint=hint)


def onnx_file(name: str) -> Diagnostic:
    hint = "run an ONNX file with `nablac run FILE.onnx`; other commands take the network's `.model` file"
    return Diagnostic(codes.E144, _TRAINED, place=_printable(name), note="it is an ONNX file", hint=hint)


_TRAINED = "this is a trained model, not a `.model` file"


def _printable(name: str) -> str:
    """A path without unprintable characters."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in name)

"""The forms in which a model's numbers can be stored and multiplied."""

from __future__ import annotations

from fnmatch import fnmatchcase

from compiler.targets import EXPORT_TARGETS, Target
from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from grammar.record import ValueRecord

BLOCK = 32  # numbers of a column that share a scale, in 4 bits


class Scheme(ValueRecord):
    """What becomes of products: how many bits weights have, and where the scales of the other operand come from."""

    name: str
    bits: int
    calibrated: bool = False  # the scales are fixed, from data; otherwise they are those of each call
    multiplies_integers: bool = True  # otherwise only weights are stored as integers


DYNAMIC = Scheme("int8", 8)
STATIC = Scheme("int8-static", 8, calibrated=True)
FOUR_BITS = Scheme("int4", 4, multiplies_integers=False)
SCHEMES = {scheme.name: scheme for scheme in (DYNAMIC, STATIC, FOUR_BITS)}


class Choices(ValueRecord):
    """What a user chooses of a quantised model."""

    scheme: Scheme = DYNAMIC
    excluded: tuple[str, ...] = ()  # patterns of weights that stay floats
    reduced: bool = False  # weights of products of integers use 7 of their 8 bits
    block: int = BLOCK

    def keeps(self, path: str) -> bool:
        """Whether a weight stays a float: `*` in a pattern is any text, `?` any character."""
        return any(fnmatchcase(path, pattern) for pattern in self.excluded)


def check_target(scheme: Scheme, target: Target) -> None:
    """NablacError for a target without the kernels of quantised models."""
    if target.multiplies_integers:
        return
    able = ", ".join(f"`--target {name}`" for name, other in EXPORT_TARGETS.items() if other.multiplies_integers)
    message = f"`--target {target.name}` has no kernels for models in {scheme.name}"
    hint = f"choose {able}, or a smaller float: `--dtype f16`"
    raise NablacError(Diagnostic(codes.E918, message, place="quantize", hint=hint))


def uncalibrated(name: str, excluded: tuple[str, ...], target: Target, keep_weights: bool = False) -> Choices:
    """The choices of a scheme that needs no data; NablacError for any other, and for a target without its kernels."""
    scheme = SCHEMES.get(name)
    if scheme is None or scheme.calibrated:
        able = " and ".join(f"`{other.name}`" for other in SCHEMES.values() if not other.calibrated)
        message = f"there is no scheme `{name}`" if scheme is None else f"`{name}` needs data to measure ranges on"
        hint = f"choose {able}" if scheme is None else f"`nablac compile RUN --quantize {name}`, or {able}"
        raise NablacError(Diagnostic(codes.E918, message, place="quantize", hint=hint))
    if keep_weights:
        message = "integers take the place of weights, which `keep_weights` would keep by name"
        raise NablacError(Diagnostic(codes.E918, message, place="quantize", hint="leave one of them out"))
    check_target(scheme, target)
    return Choices(scheme, excluded)

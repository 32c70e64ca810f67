"""Every name that the language itself defines."""

from __future__ import annotations

import math

from compiler.elaborate.builtins import lists, number_functions, shapes, tensors  # noqa: F401 - they register functions in `BUILTINS`
from compiler.elaborate.builtins.declaring import BUILTINS, binding_builtin
from compiler.elaborate.builtins.draws import RANDOM
from compiler.elaborate.cells import scan_of
from compiler.elaborate.instances import instantiate
from compiler.elaborate.session import Session
from compiler.elaborate.values import NONE, Argument, Builtin, CompileTimeValue, Instance, Primitive, describe
from compiler.graph import Operator
from compiler.types import DType
from grammar import codes
from grammar.source import Span


@binding_builtin("copy")
def _copy(session: Session, arguments: list[Argument], span: Span) -> CompileTimeValue:
    """`copy(instance, name: value ...)`: a new instance with some hyperparameters changed."""
    if not arguments or arguments[0].name is not None or not isinstance(arguments[0].value, Instance):
        what = describe(arguments[0].value) if arguments else "nothing"
        raise session.fault(codes.E404, f"copy takes an instance, got {what}", span)
    instance = arguments[0].value
    changed = {argument.name: argument for argument in arguments[1:]}
    same = [Argument(name, value, span) for name, value in instance.hypers.items() if name not in changed]
    return instantiate(session, instance.defined, [*same, *arguments[1:]], span)


def builtin_names() -> dict[str, CompileTimeValue]:
    """Every name that the language itself defines, with its value."""
    names: dict[str, CompileTimeValue] = {name: Primitive(op) for name, op in Operator.registry.items() if op.public}
    names |= number_functions.folding_operators()
    names |= BUILTINS
    names |= {
        "scan": Builtin("scan", scan_of),
        "random": RANDOM,
        "none": NONE,
        "pi": math.pi,
        "infinity": math.inf,
    }
    return names | {str(dtype): dtype for dtype in DType}

"""Attributes: members of a module, parameters and hyperparameters of an instance."""

from __future__ import annotations

from compiler.elaborate.definition_bodies import declared_parameters
from compiler.elaborate.session import Session, evaluates
from compiler.elaborate.values import CompileTimeValue, Instance, Module, describe
from compiler.graph import Value
from grammar import codes, syntax
from grammar.diagnostics import Label, did_you_mean

_TENSOR_HINTS = {
    "T": "write `x^T` for the transpose",
    "shape": "write `shape(x)`",
    "dtype": "write `dtype(x)`",
    "ndim": "write `rank(x)`",
}


@evaluates(syntax.Attribute)
def attribute(session: Session, expression: syntax.Attribute) -> CompileTimeValue:
    """`value.name`."""
    value, name = session.evaluate(expression.value), expression.name.text
    if isinstance(value, Module):
        if name in value.members:
            return value.members[name]
        hint = did_you_mean(name, value.members)
        raise session.fault(codes.E206, f"{value.name} has no `{name}`", expression.name.span, hint=hint)
    if isinstance(value, Instance):
        return _of_instance(session, expression, value)
    hint = None
    if isinstance(value, Value):
        hint = _TENSOR_HINTS.get(name)
        if hint is None and name in session.frame.scope:
            hint = f"functions are called as `{name}(x)`"
        raise session.fault(codes.E206, f"a tensor has no attribute `{name}`", expression.name.span, hint=hint)
    raise session.fault(codes.E206, f"{describe(value)} has no attribute `{name}`", expression.name.span)


def _of_instance(session: Session, expression: syntax.Attribute, instance: Instance) -> CompileTimeValue:
    """A parameter or hyperparameter; a parameter is there once its instance has been applied."""
    name = expression.name.text
    if name in instance.parameters:
        return instance.parameters[name]
    if name in instance.hypers:
        return instance.hypers[name]
    declared = [parameter.name.text for parameter in declared_parameters(instance.defined.syntax)]
    if name in declared:
        path = f"{instance.path}.{name}"
        if path in session.parameters:
            return session.parameters[path]
        raise session.fault(
            codes.E207,
            f"`{expression.span.text}` has no shape before {instance.defined.name} is first applied",
            expression.span,
            labels=(Label(instance.span, "created here"),),
        )
    raise session.fault(
        codes.E206,
        f"{describe(instance)} has no parameter or hyperparameter `{name}`",
        expression.name.span,
        hint=did_you_mean(name, [*instance.hypers, *declared]),
    )

"""Immutable records that are cheap to declare.

The dataclass decorator generates and compiles code for each class; with some hundred classes of syntax and operators,
that took a quarter of the time of `nablac check`. For a type checker, a `Record` is a frozen dataclass.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self, dataclass_transform


@dataclass_transform(frozen_default=True, eq_default=False)
class Record:
    """The annotations of a subclass are its fields, in order; values in the class are their defaults.

    Records compare by identity.
    """

    fields: ClassVar[dict[str, str]] = {}  # name to the text of its annotation
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = vars(cls).get("__annotations__", {})
        cls.fields = cls.fields | {name: text for name, text in own.items() if not text.startswith("ClassVar")}
        cls.__match_args__ = tuple(cls.fields)  # type: ignore[misc]

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self.fields
        if len(values) == len(fields) and not named:  # the common case, in which nothing can be wrong
            self.__dict__.update(zip(fields, values))
            return
        values_by_name = dict(zip(fields, values)) | named
        if len(values_by_name) < len(values) + len(named) or values_by_name.keys() - fields.keys():
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(fields)}")
        for name in fields:
            if name not in values_by_name and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} needs `{name}`")
        self.__dict__.update(values_by_name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a {type(self).__name__} does not change")

    def replace(self, **changed: Any) -> Self:
        """This record with some of its fields changed."""
        return type(self)(**{**{name: getattr(self, name) for name in self.fields}, **changed})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.fields)})"


class ValueRecord(Record):
    """A record that equals another of its class with equal fields."""

    def _values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self.fields])

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self is other or self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

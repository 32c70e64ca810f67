"""Immutable records that cost nothing to declare.

The dataclass decorator writes and compiles code for each class; with some hundred kinds of syntax and operators that
took a quarter of `nablac check`. To a type checker a `Record` is the frozen dataclass that it stands for.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self, dataclass_transform


@dataclass_transform(frozen_default=True, eq_default=False)
class Record:
    """A subclass's annotations are its fields, in order; one with a value in the class has that for a default.

    Records compare by identity.
    """

    fields: ClassVar[dict[str, str]] = {}  # name to annotation, as it is written
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = vars(cls).get("__annotations__", {})
        cls.fields = cls.fields | {name: text for name, text in own.items() if not text.startswith("ClassVar")}
        cls.__match_args__ = tuple(cls.fields)  # type: ignore[misc]

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self.fields
        given = dict(zip(fields, values)) | named
        if len(given) < len(values) + len(named) or given.keys() - fields.keys():
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(fields)}")
        for name in fields:
            if name not in given and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} needs `{name}`")
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a {type(self).__name__} does not change")

    def replace(self, **changed: Any) -> Self:
        """This record with some of its fields changed."""
        return type(self)(**{**{name: getattr(self, name) for name in self.fields}, **changed})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.fields)})"

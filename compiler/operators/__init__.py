"""Every operator, once. An operator is a class in one of these files; being defined is being known.

`OPERATORS` maps names to classes; the language, both runtimes, the exporter and the reference read it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from compiler.graph import Operator

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

OPERATORS: dict[str, type[Operator]] = Operator.registry

"""What is installed has one top-level name, `nablac`; in a checkout the folders beside it are packages themselves.

A wheel holds `compiler` as `nablac.compiler`, and so on, since users have folders and files of these names themselves.
An editable install is the checkout as it is.
"""

import ast
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

FACE = "nablac"
FOLDERS = ("grammar", "compiler", "runtime", "specs")
_PATTERNS = [pattern for folder in FOLDERS for pattern in (folder, f"{folder}.*")]


def moved_imports(text: str) -> str:
    """Python source whose imports of the four folders are of packages inside `nablac`.

    `import compiler.x` binds the name `compiler`, which would have to change wherever it is used: ValueError.
    """
    lines = text.splitlines(keepends=True)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in FOLDERS:
                    raise ValueError(f"line {node.lineno}: write `from ... import ...`, not `import {alias.name}`")
        if isinstance(node, ast.ImportFrom) and not node.level and str(node.module).split(".")[0] in FOLDERS:
            line = lines[node.lineno - 1]
            start = len(line.encode()[: node.col_offset].decode())
            before, after = line[:start], line[start:]
            lines[node.lineno - 1] = before + after.replace(f"from {node.module}", f"from {FACE}.{node.module}", 1)
    return "".join(lines)


class BuildPackages(build_py):
    """Copies the packages, with the imports of their new names."""

    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)  # an earlier build may hold what is gone since
        super().run()

    def build_module(self, module, module_file, package):  # type: ignore[no-untyped-def]
        copied = super().build_module(module, module_file, package)
        if not self.editable_mode:
            target = Path(copied[0])
            target.write_text(moved_imports(target.read_text(encoding="utf-8")), encoding="utf-8")
        return copied


class EditableCheckout(editable_wheel):
    """An editable install has the folders under their own names, as a checkout has."""

    def run(self) -> None:
        self.distribution.packages = [*find_packages(include=[FACE, f"{FACE}.*"]), *find_packages(include=_PATTERNS)]
        self.distribution.package_dir = {}
        super().run()


setup(
    packages=[
        *find_packages(include=[FACE, f"{FACE}.*"]),
        *(f"{FACE}.{package}" for package in find_packages(include=_PATTERNS)),
    ],
    package_dir={f"{FACE}.{folder}": folder for folder in FOLDERS},
    cmdclass={"build_py": BuildPackages, "editable_wheel": EditableCheckout},
)

"""Print what pyproject.toml requires, for pip: `requirements.py EXTRA ...`, or with `--lowest` its lowest versions.

What the project requires can be installed into several environments at once; the project itself cannot be built so.
"""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
lowest = sys.argv[1:] == ["--lowest"]
names = ("image", "jit", "parquet", "text", "tune") if lowest else sys.argv[1:]
for requirement in (*project["dependencies"], *(each for name in names for each in extras[name])):
    if lowest:
        name, _, version = re.split("(>=)", requirement)
        requirement = f"{name}=={version}"
    print(requirement)

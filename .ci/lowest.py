"""Print the lowest versions that pyproject.toml claims, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
of_extras = [requirement for name in ("image", "jit", "parquet", "text", "tune") for requirement in extras[name]]
for requirement in (*project["dependencies"], *of_extras):
    name, _, version = re.split("(>=)", requirement)
    print(f"{name}=={version}")

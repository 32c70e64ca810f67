"""Print the lowest versions that pyproject.toml claims, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
for requirement in (*project["dependencies"], *extras["image"], *extras["parquet"], *extras["text"], *extras["tune"]):
    name, _, version = re.split("(>=)", requirement)
    print(f"{name}=={version}")

"""`nablac doctor`: what is installed, and known problems of the installation."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, TypedDict

import click

from nablac.commands.options import output_options
from nablac.commands.output import print_json

CORE = (  # the dependencies of pyproject.toml
    "click",
    "filelock",
    "lark",
    "ml_dtypes",
    "networkx",
    "numpy",
    "onnx",
    "onnxruntime",
    "rich",
    "safetensors",
    "threadpoolctl",
)
EXTRAS = {
    "image": "pillow",
    "jit": "numba",
    "parquet": "pyarrow",
    "text": "tokenizers",
    "tune": "optuna",
    "mpi": "mpi4py",
    "ray": "ray",
    "mlflow": "mlflow-skinny",
    "wandb": "wandb",
    "oracle": "torch",
}


# Its keys are also printed for people, so that one has a space.
DoctorJson = TypedDict(
    "DoctorJson",
    {
        "nablac": Annotated[str, "the version"],
        "python": Annotated[str, "the version, and what it runs on"],
        "models": Annotated[str, "the folder of the models that come with nablac"],
        "encoding": Annotated[str, "of standard output"],
        "core": Annotated[dict[str, str], "versions of the packages that nablac needs"],
        "onnxruntime devices": Annotated[list[str], "what onnxruntime can run on"],
        "extras": Annotated[dict[str, str], "the versions of optional packages, or how to install them"],
        "problems": Annotated[list[str], "known problems; the exit status is 1 if there are any"],
    },
)


@click.command()
@output_options
def command(as_json: bool, quiet: bool) -> int:
    """Check the installation.

    Shows versions, the folder of the models that come with nablac, onnxruntime's devices and optional packages, and
    lists known problems.

    \b
    Example:
      nablac doctor
    """
    facts = _facts()
    if as_json:
        print_json(facts)
    else:
        for name, value in facts.items():
            if isinstance(value, dict):
                click.echo(f"{name}:")
                for package, shown in value.items():
                    click.echo(f"  {package:<14} {shown}")
            elif isinstance(value, list):
                click.echo(f"{name}: {', '.join(value) if value else 'none'}")
            else:
                click.echo(f"{name}: {value}")
    return 1 if facts["problems"] else 0


def _facts() -> DoctorJson:
    import nablac
    from specs import FOLDER

    core = {name: _version(name) for name in CORE}
    problems = [
        f"{name} is not installed: pip install {name}"
        for name, installed in core.items()
        if installed is None and name != "onnxruntime"
    ]
    runtimes = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name)]
    if len(runtimes) == 2:
        problems.append(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            "pip uninstall -y onnxruntime onnxruntime-gpu, then install the one you want"
        )
    if not runtimes:
        problems.append("onnxruntime is not installed: pip install onnxruntime")
    devices: list[str] = []
    if runtimes:
        import onnxruntime

        devices = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    extras = {
        name: _version(package) or f"not installed: pip install 'nablac[{name}]'" for name, package in EXTRAS.items()
    }
    return {
        "nablac": nablac.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "models": str(FOLDER),
        "encoding": sys.stdout.encoding or "unknown",
        "core": {name: installed or "not installed" for name, installed in core.items()},
        "onnxruntime devices": devices,
        "extras": extras,
        "problems": problems,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

"""What a run's results depend on besides its options: installed versions, the processor's kernels, and threads."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from runtime.thread_limits import available_threads
from specs import FOLDER as SPECS

_ROOT = Path(__file__).parents[2]
_CODE = ("grammar", "compiler", "runtime")  # folders whose files of these kinds are nablac's code
_TEXTS = frozenset({".py", ".lark", ".model"})


@dataclass(frozen=True)
class Surroundings:
    """The environment of a run; None for facts that do not matter on its backend.

    NumPy's matrix products are computed by its BLAS, and their last bits depend on the kernel that it chooses for the
    processor; onnxruntime has kernels of its own, where they depend on the number of threads too.
    """

    nablac: str
    code: str  # a hash of the code, which in a checkout changes without the version
    library: str  # a hash of the standard library's texts
    numpy: str
    onnxruntime: str | None
    processor: str  # with the instructions that kernels are chosen by
    blas: str | None
    threads: int | None
    numba: str | None = None  # of runs that compile loops: a record only, since these have NumPy's bits

    def changes(self, now: Surroundings) -> Iterable[tuple[str, str]]:
        """The differences, each as a clause with a hint how to undo it."""
        for name, (words, hint) in _WORDS.items():
            before, after = getattr(self, name), getattr(now, name)
            if before != after:
                yield words.format(before=before, after=after), hint.format(before=before)


_WORDS = {
    "nablac": ("nablac was {before}, and is {after}", "`pip install nablac=={before}` continues with it"),
    "code": ("nablac's own code has changed", "resume it with the checkout that started it"),
    "library": ("the standard library has changed", "resume it with the nablac that started it"),
    "numpy": ("NumPy was {before}, and is {after}", "install the version that it was started with"),
    "onnxruntime": ("onnxruntime was {before}, and is {after}", "install the version that it was started with"),
    "processor": ("the processor was {before}, and is {after}", "other instructions round differently"),
    "blas": ("NumPy's BLAS was {before}, and is {after}", "other kernels round differently"),
    "threads": (
        "onnxruntime had {before} threads, and has {after}",
        "`--threads {before}` or OMP_NUM_THREADS={before} uses as many",
    ),
}


def surroundings(backend: str, jit: bool = False) -> Surroundings:
    """The surroundings of a run on a backend, in this process."""
    numpy = backend == "numpy"
    return Surroundings(
        nablac=_installed("nablac"),
        code=_hash(path for folder in _CODE for path in (_ROOT / folder).rglob("*") if path.suffix in _TEXTS),
        library=_hash((SPECS / "std").glob("*.model")),
        numpy=np.__version__,
        numba=_installed("numba") if jit else None,
        onnxruntime=None if numpy else _onnxruntime(),
        processor=_processor(),
        blas=_blas() if numpy else None,
        threads=None if numpy else available_threads(),
    )


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout
        return "a checkout"


def _onnxruntime() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


def _processor() -> str:
    """The machine and its instruction sets, by which kernels are chosen, as NumPy reports them."""
    instructions = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    return " ".join([platform.machine(), *instructions])


def _blas() -> str:
    """NumPy's BLAS with the kernel that it has chosen."""
    from threadpoolctl import threadpool_info

    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    beside = (Path(np.__file__).parent, Path(np.__file__).parents[1] / "numpy.libs")
    loaded = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    own = [pool for pool in loaded if any(Path(pool["filepath"]).is_relative_to(folder) for folder in beside)]
    for pool in own or loaded:
        kernel = pool.get("architecture") or ""
        return f"{pool['internal_api']} {pool['version']} {kernel}".strip()
    return f"{built['name']} {built['version']}"


def _hash(paths: Iterable[Path]) -> str:
    digest = blake2b(digest_size=8)
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()

"""One contender in a process of its own: it builds, then answers lines of its standard input in JSON.

`python -m benchmarks.contender_process JOB`: `warm SECONDS` runs the first steps, `burst SECONDS` gives the time of a
step. What the libraries print goes to the standard error.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import CONTENDERS, Job, NotWritten
from benchmarks.measuring import CLOCKS, burst, memory_now, memory_peak, warm_up

FEWEST_FOR_MEMORY = 5  # steps: the first ones of some contenders hold less


def release() -> None:
    """Give what is no longer used back to the system."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def built(job: Job) -> tuple[Callable[[], Any], float, float]:
    """A job's step, the mebibytes that its imports hold, and those that building it held at the most beside them."""
    contender = CONTENDERS[job.contender]
    module = contender.load()
    import safetensors.numpy  # noqa: F401 - by which all read the weights

    np.ones((64, 64), np.float32) @ np.ones((64, 64), np.float32)  # the buffers of NumPy's BLAS
    np.random.default_rng(0)  # imports of NumPy that happen late
    module.import_packages(contender.variant)
    release()
    imports = memory_now()
    build = getattr(module, job.work.split()[0], None)
    if build is None:
        raise NotWritten(f"{job.contender} has no {job.work}")
    step = build(job)
    building = memory_peak() - imports
    release()
    memory_now()
    return step, imports, building


def first_steps(job: Job, step: Callable[[], Any], seconds: float) -> dict[str, Any]:
    """The times of the first steps, and the first result: a loss, or the name of a file with an array."""
    results: list[Any] = []

    def keep() -> None:
        result = step()
        if not results:
            results.append(np.array(result))

    times = warm_up(keep, CLOCKS[job.threads], seconds)
    for _ in range(FEWEST_FOR_MEMORY - len(times)):
        step()
    path = job.folder / f"result-{os.getpid()}.npy"
    np.save(path, results[0])
    return {"times": times, "result": str(path)}


def main(text: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**facts: Any) -> None:
        print(json.dumps(facts), file=answers, flush=True)

    facts = json.loads(text)
    job = Job(**{**facts, "folder": Path(facts["folder"])})
    try:
        step, imports, building = built(job)
        answer(imports=imports)
        expected = 0.0
        for line in sys.stdin:
            command, seconds = line.split()
            if command == "warm":
                first = first_steps(job, step, float(seconds))
                expected = first["times"][-1]
                answer(**first, peak=memory_peak() - imports, building=building)
            else:
                answer(time=burst(step, CLOCKS[job.threads], float(seconds), expected))
    except NotWritten as reason:
        answer(absent=str(reason))
    except Exception as error:  # every library has its own; the table says what it was
        message = str(error).strip().splitlines() or [""]
        answer(failed=f"{type(error).__name__}: {message[0][:200]}")
        raise


if __name__ == "__main__":
    main(sys.argv[1])

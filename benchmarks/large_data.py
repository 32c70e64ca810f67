"""Memory and time to the first step of training on a table that is larger than memory is to hold.

    python -m benchmarks.large_data write FOLDER --bytes 5GB      # numbers.parquet, numbers.csv and numbers.npz
    python -m benchmarks.large_data measure FOLDER numbers.csv    # one process, one step

Memory is what Linux says of the process: `anonymous` is its own, and the peak of all that was resident, with pages of
files, is `resident`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from compiler.byte_sizes import bytes_of

COLUMNS = 20
ROWS_AT_ONCE, MOST_ROWS = 1 << 17, 1 << 40
WHAT = {
    "columns": ('columns(inputs: [{names}], targets: "c0")', f"x: [batch, {COLUMNS - 1}]", "y = x -> Dense(1)"),
    "window": (
        'window([{names}], target: "c0", length: 24, horizon: 1)',
        f"x: [batch, 24, {COLUMNS - 1}]",
        "y = x -> Flatten() -> Dense(1) -> reshape([batch, 1, 1])",
    ),
}


def write(folder: Path, size: int, rows: int, forms: list[str]) -> None:
    """Write a table of random walks of about `size` bytes in each form; where that is 0, of so many rows."""
    import pyarrow
    from pyarrow import csv, parquet

    names = [f"c{number}" for number in range(COLUMNS)]
    schema = pyarrow.schema([(name, pyarrow.float64()) for name in names])
    for form in forms:
        path = folder / f"numbers.{form}"
        generator, last = np.random.default_rng(0), np.zeros(COLUMNS)
        if form == "npz":
            count = size // (8 * COLUMNS) or rows
            walk = np.cumsum(generator.normal(size=(count, COLUMNS)), axis=0)
            np.savez(path, x=walk[:, 1:], t=walk[:, :1])
            continue
        with open(path, "wb") as file:
            opened = (
                parquet.ParquetWriter(file, schema, compression="none", use_dictionary=False)
                if form == "parquet"
                else csv.CSVWriter(file, schema)
            )
            written = 0
            while written < rows and (not size or file.tell() < size):
                count = min(ROWS_AT_ONCE, rows - written)
                walk = last + np.cumsum(generator.normal(size=(count, COLUMNS)), axis=0)
                last, written = walk[-1], written + count
                opened.write_table(pyarrow.table([walk[:, number] for number in range(COLUMNS)], schema=schema))
            opened.close()


def model(file: str, what: str) -> str:
    """A model of one product, trained on the table."""
    stages, inputs, equation = WHAT[what]
    names = ", ".join(f'"c{number}"' for number in range(1, COLUMNS))
    source = f'{Path(file).suffix[1:]}("{file}") -> standardize()'
    data = source if file.endswith(".npz") else f"{source} -> {stages.format(names=names)}"
    target = "t: [batch, 1, 1]" if what == "window" else "t: [batch, 1]"
    return (
        f"model M {{\n    input {inputs}\n    {equation}\n    output y\n}}\n"
        f"train M {{\n    target {target}\n    loss mse(y, t)\n    epochs 1\n    data {data}\n}}\n"
    )


def measure(folder: Path, file: str, what: str, batches: int) -> dict[str, float]:
    """Peak memory in MB, and the seconds of a run of some steps: on the clock and of the processor."""
    path = folder / "large.model"
    path.write_text(model(file, what))
    command = [sys.executable, "-m", "nablac", "train", str(path), "-q", "-o", str(folder / f"run-{time.time_ns()}")]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--limit-batches", str(batches)])
    anonymous, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.wait(0.02):
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
                anonymous[0] = max(anonymous[0], int(line.split()[1]))
            except (OSError, StopIteration):
                pass

    thread = threading.Thread(target=sample)
    thread.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    thread.join()
    return {
        "exit": process.returncode,
        "seconds": round(time.perf_counter() - start, 2),
        "processor": round(usage.ru_utime + usage.ru_stime, 2),
        "anonymous": round(anonymous[0] / 1000),
        "resident": round(usage.ru_maxrss / 1000),
    }


def main() -> None:
    """Write tables, or measure a run on one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["write", "measure"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--bytes", default="5GB")
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--what", choices=list(WHAT), default="columns")
    parser.add_argument("--batches", type=int, default=1)
    options = parser.parse_intermixed_args()
    if options.action == "write":
        size = 0 if options.rows else bytes_of(options.bytes) or 0
        write(options.folder, size, options.rows or MOST_ROWS, options.files or ["parquet", "csv", "npz"])
    else:
        for file in options.files:
            print(file, options.what, json.dumps(measure(options.folder, file, options.what, options.batches)))


if __name__ == "__main__":
    main()

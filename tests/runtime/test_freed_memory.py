"""The memory that a step of NumPy frees is there for the next one, and is returned after the run."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from runtime.freed_memory import _OF_THE_USER
from tests.command_line import surroundings

PROGRAM = """
import resource
import numpy as np
from runtime.data.arrays import from_arrays
from runtime.training.run_options import Options
from runtime.training.training_run import Training
from tests.models import text_source

SOURCE = '''
model M { input x: [batch, 16]; y = x -> Dense(512) -> tanh -> Dense(512) -> tanh -> Dense(512) -> tanh; output y }
train M { target t: [batch, 512]; loss mse(y, t); optimizer sgd(lr: 0.1); epochs 10; batch 2048; validation 0 }
'''
x = np.zeros((2048, 16), np.float32)
training = Training(text_source(SOURCE), Options())
training.examples = from_arrays({"x": x, "t": np.zeros((2048, 512), np.float32)}, "data")
loop, faults, resident = training.loop(), [], []


def note(*_):
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    resident.append(memory())


def memory():
    return int(open("/proc/self/statm").read().split()[1])


loop.events.batch = note
loop.run()
print(faults[-1] - faults[4], resident[-1] - memory())
"""
PAGES_OF_A_RESULT = 2048 * 512 * 4 // 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone")
def test_a_step_has_its_memory_from_the_one_before_it() -> None:
    environment = {name: value for name, value in surroundings().items() if name not in _OF_THE_USER}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    faults, returned = map(int, done.stdout.split())
    assert faults < PAGES_OF_A_RESULT  # in 5 steps, each of which has several results of this size
    assert returned > PAGES_OF_A_RESULT

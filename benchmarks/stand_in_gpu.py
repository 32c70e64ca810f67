"""Asks the CUDA provider in a wheel of onnxruntime-gpu what it has, on a machine without a GPU.

The provider is a library that needs NVIDIA's: it does not even load without them. Stand-ins are compiled for these,
with every function that the wheel asks for: memory is the processor's, a device is there, and what would compute does
nothing. With them the wheel's own library registers its kernels and places nodes, exactly as on a GPU; no result that
it computes means anything. It needs `gcc`, `nm` and `readelf`, and a virtual environment with the wheel.

Limits: the stand-in says that it is one GPU of compute capability 9.0 with 16 GiB. A kernel whose constructor refuses
another device, and what a kernel itself does on the processor, are not seen.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PROVIDERS = ("libonnxruntime_providers_cuda.so", "libonnxruntime_providers_tensorrt.so")
_CUDNN = "libcudnn.so.9"
_NVIDIA = re.compile(r"lib(?:cu|nv)\w+\.so\.\d+")
_CAPI = "import onnxruntime, pathlib; print(pathlib.Path(onnxruntime.__file__).parent / 'capi')"
_VERSION = "import onnxruntime; print(onnxruntime.__version__)"
_KERNELS = """
import json, sys
from onnxruntime.capi import onnxruntime_pybind11_state as state
rows = [
    (kernel.provider, kernel.domain, kernel.op_name, kernel.version_range, kernel.type_constraints)
    for kernel in state.get_all_opkernel_def()
]
json.dump(rows, open(sys.argv[1], "w"))
"""
_PLACES = """
import json, sys
import onnxruntime
onnxruntime.set_default_logger_severity(4)
places = []
for file in sys.argv[2:]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(file, options, providers=providers)
    assert session.get_providers() == providers, "the provider did not start"
    places.append([
        (part.ep_name, node.domain, node.op_type, node.name)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ])
json.dump(places, open(sys.argv[1], "w"))
"""
# A device and memory for what is asked while a session is created. The offsets are those of `cudaDeviceProp`.
_DEFINED = r"""
#include <stdlib.h>
#include <string.h>
static char any[4096];
static int count(int *n, int value) { *n = value; return 0; }
static int take(void **p, size_t n) { *p = aligned_alloc(256, (n + 511) / 256 * 256); return 0; }
static int handle(void **p) { *p = any; return 0; }
int cudaGetDeviceCount(int *n) { return count(n, 1); }
int cudaGetDevice(int *n) { return count(n, 0); }
int cudaGetDeviceProperties(char *p, int device) {
    memset(p, 0, 512);
    strcpy(p, "stand-in");
    *(size_t *)(p + 288) = 1ul << 34;  /* totalGlobalMem */
    *(size_t *)(p + 296) = 49152;      /* sharedMemPerBlock */
    *(int *)(p + 308) = 32;            /* warpSize */
    *(int *)(p + 320) = 1024;          /* maxThreadsPerBlock */
    *(int *)(p + 360) = 9;             /* major */
    *(int *)(p + 388) = 132;           /* multiProcessorCount */
    return 0;
}
int cudaGetDeviceProperties_v2(char *p, int device) { return cudaGetDeviceProperties(p, device); }
int cudaDeviceGetAttribute(int *v, int which, int device) { return count(v, which == 75 ? 9 : which == 76 ? 0 : 1); }
int cudaDriverGetVersion(int *v) { return count(v, 13000); }
int cudaRuntimeGetVersion(int *v) { return count(v, 13000); }
int cudaMalloc(void **p, size_t n) { return take(p, n); }
int cudaMallocHost(void **p, size_t n) { return take(p, n); }
int cudaHostAlloc(void **p, size_t n, unsigned flags) { return take(p, n); }
int cudaMallocFromPoolAsync(void **p, size_t n, void *pool, void *stream) { return take(p, n); }
int cudaFree(void *p) { free(p); return 0; }
int cudaFreeHost(void *p) { free(p); return 0; }
int cudaFreeAsync(void *p, void *stream) { free(p); return 0; }
int cudaMemGetInfo(size_t *free_bytes, size_t *all) { *free_bytes = *all = 1ul << 34; return 0; }
int cudaMemcpy(void *to, const void *from, size_t n, int kind) { memcpy(to, from, n); return 0; }
int cudaMemcpyAsync(void *to, const void *from, size_t n, int kind, void *stream) { memcpy(to, from, n); return 0; }
int cudaMemset(void *to, int v, size_t n) { memset(to, v, n); return 0; }
int cudaMemsetAsync(void *to, int v, size_t n, void *stream) { memset(to, v, n); return 0; }
int cudaStreamCreate(void **p) { return handle(p); }
int cudaStreamCreateWithFlags(void **p, unsigned flags) { return handle(p); }
int cudaStreamIsCapturing(void *stream, int *status) { return count(status, 0); }
int cudaEventCreate(void **p) { return handle(p); }
int cudaEventCreateWithFlags(void **p, unsigned flags) { return handle(p); }
int cudaMemPoolCreate(void **p, void *wanted) { return handle(p); }
int cublasCreate_v2(void **p) { return handle(p); }
int cublasLtCreate(void **p) { return handle(p); }
int cublasGetMathMode(void *blas, int *mode) { return count(mode, 0); }
int cudnnCreate(void **p) { return handle(p); }
int cudnnDropoutGetStatesSize(void *cudnn, size_t *n) { *n = 256; return 0; }
int cudnnGetRNNTempSpaceSizes(void *c, void *rnn, int mode, void *x, size_t *work, size_t *kept) {
    *work = *kept = 1ul << 20;
    return 0;
}
int cudnnGetRNNWeightSpaceSize(void *cudnn, void *rnn, size_t *n) { *n = 1ul << 20; return 0; }
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, void *f, int size, size_t bytes, unsigned flags) {
    return count(n, 1);
}
void **__cudaRegisterFatBinary(void *binary) { static void *h; return &h; }
const char *cudaGetErrorString(int error) { return ""; }
const char *cudaGetErrorName(int error) { return ""; }
const char *cublasGetStatusString(int error) { return ""; }
const char *cublasGetStatusName(int error) { return ""; }
const char *cudnnGetErrorString(int error) { return ""; }
"""
# What TensorRT's library returns are objects, of which every method does nothing.
_OBJECTS = r"""
static int nothing(void) { return 0; }
static void *methods[256], *object[4] = {methods};
static void *make(void) { for (int i = 0; i < 256; i++) methods[i] = (void *)nothing; return object; }
"""


def kernels(python: str | Path) -> tuple[str, list[tuple[str, str, str, tuple[int, int], Mapping[str, list[str]]]]]:
    """The version of the onnxruntime-gpu of a virtual environment, and all its kernels.

    A kernel is its provider, the operator's domain and name, the first and the last version, and types by parameter.
    """
    return _output(python, _VERSION), [tuple(row) for row in _asked(python, _KERNELS)]


def places(python: str | Path, *files: Path) -> list[list[tuple[str, str, str, str]]]:
    """For each ONNX file where the CUDA provider puts its nodes: provider, domain, operator and name of each."""
    return [[tuple(row) for row in rows] for rows in _asked(python, _PLACES, *map(str, files))]


def _asked(python: str | Path, program: str, *arguments: str) -> Any:
    """What a program of that environment writes as JSON, with the stand-ins."""
    with _stand_ins(Path(_output(python, _CAPI))) as libraries, tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": ""}
        subprocess.run([python, "-c", program, str(answer), *arguments], env=environment, check=True)
        return json.loads(answer.read_text("utf-8"))


def _output(*command: str | Path) -> str:
    arguments = [command[0], "-c", *command[1:]]
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def _stand_ins(capi: Path) -> Iterator[Path]:
    """A folder with a stand-in for every library of NVIDIA's that the providers in a wheel need."""
    functions: dict[str, set[str]] = {}
    for library in (capi / name for name in _PROVIDERS):
        if not library.exists():
            continue
        listed = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
        needed = re.findall(r"\[([^]]+)\]", "".join(line for line in listed.splitlines() if "NEEDED" in line))
        own = [name for name in needed if _NVIDIA.fullmatch(name)]
        for name in own:
            functions.setdefault(name, set())
        listed = subprocess.run(["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True)
        for symbol in re.findall(r" [Uw] (\S+)", listed.stdout):
            function, _, version = symbol.partition("@")
            home = version or _home(function, own)
            if home in functions:
                functions[home].add(function)
        looked_up = re.findall(rb"\0(cudnn[A-Z]\w+)(?=\0)", library.read_bytes())  # by name, while it runs
        functions.setdefault(_CUDNN, set()).update(function.decode() for function in looked_up)
    with tempfile.TemporaryDirectory() as folder:
        for name, wanted in functions.items():
            _compile(Path(folder), name, wanted)
        yield Path(folder)


def _home(function: str, needed: list[str]) -> str:
    """The library that has a function whose symbol names none."""
    stem = "libcuda.so" if re.match("cu[A-Z]", function) else "libnvinfer.so"
    known = re.match("cu[A-Z]|(create|get)[A-Z]", function)
    return next((name for name in needed if known and name.startswith(stem)), "")


def _compile(folder: Path, name: str, functions: set[str]) -> None:
    returns_objects = name.startswith("libnvinfer")
    lines = [_OBJECTS if returns_objects else _DEFINED]
    defined = set(re.findall(r"(\w+)\(", _DEFINED))
    for function in sorted(functions - (set() if returns_objects else defined)):
        is_object = returns_objects and function != "getInferLibVersion"
        lines.append(f"void *{function}(void) {{ return {'make()' if is_object else '0'}; }}")
    source, versions = folder / f"{name}.c", folder / f"{name}.map"
    source.write_text("\n".join(lines), "utf-8")
    versions.write_text(f"{name} {{ global: {' '.join(f'{function};' for function in sorted(functions))} local: *; }};")
    options = ["-w", "-fno-builtin", "-shared", "-fPIC", f"-Wl,-soname,{name}"]
    if functions:
        options.append(f"-Wl,--version-script={versions}")
    subprocess.run(["gcc", *options, "-o", str(folder / name), str(source)], check=True)

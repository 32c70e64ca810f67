"""A Ray cluster: one that is started on this machine for as long as a command runs, or one that runs already."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grammar import codes
from grammar.diagnostics import Diagnostic, NablacError
from runtime.thread_limits import processors

if TYPE_CHECKING:
    from collections.abc import Mapping

_ANSWER = 10.0  # seconds in which a cluster has to answer
_TRIES = 2  # of starting a cluster, which fails where a machine is so busy that Ray's processes miss each other
_STORE = 200 * 2**20  # bytes of shared memory for the objects of a cluster that is started here
_LONGEST_FOLDER = 40  # characters; Ray's sockets are below it, and have at most 107
# Ray gives up on its own processes after 30 seconds, which a busy machine may need.
_CONFIGURATION = {
    "agent_register_timeout_ms": 120_000,
    "worker_register_timeout_seconds": 120,
    "gcs_rpc_server_reconnect_timeout_s": 20,  # after which a command ends whose cluster was killed
    "worker_niceness": 0,  # workers are the command, and not beside it
}
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # Ray prints what happens to workers on standard output
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # workers see the devices that the command sees
}
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # RFC 9113, 3.4: empty settings


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process has joined, and whether it was started for it."""

    address: str
    is_own: bool

    @property
    def cpus(self) -> int:
        """The processors that the cluster lends."""
        return int(require_ray().cluster_resources().get("CPU", 0))

    @property
    def free_cpus(self) -> int:
        """Those of them that are free at the moment."""
        return int(require_ray().available_resources().get("CPU", 0))

    @property
    def gpus(self) -> int:
        """The GPUs that the cluster lends."""
        return int(require_ray().cluster_resources().get("GPU", 0))

    @property
    def free_gpus(self) -> int:
        """Those of them that are free at the moment."""
        return int(require_ray().available_resources().get("GPU", 0))


def require_ray() -> Any:
    """Ray's module; NablacError where it is missing."""
    os.environ.update({name: os.environ.get(name, value) for name, value in _SETTINGS.items()})
    try:
        import ray
    except ImportError:
        message, hint = "the engine `ray` needs Ray, which is not installed", '`pip install "nablac[ray]"` installs it'
        raise NablacError(Diagnostic(codes.E910, message, place="--engine", hint=hint)) from None
    return ray


@contextmanager
def connect(address: str | None = None, cpus: int | None = None) -> Iterator[Cluster]:
    """Join the cluster at `address` (host:port, or `auto` for one of this machine) until the end of the block.

    Without an address a cluster of this machine alone is started, which lends `cpus` processors, by default all, and
    ends with the block. Raises NablacError where Ray is missing, nothing answers at the address, or no cluster starts.
    """
    ray = require_ray()
    log = logging.getLogger("ray")
    before = log.propagate, log.handlers[:]
    log.propagate, log.handlers = False, [logging.NullHandler()]  # what concerns a user is a diagnostic
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with _started(ray, cpus or processors()) if address is None else _joined(ray, address) as connection:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)  # which Ray replaces
            yield Cluster(connection["address"], address is None)
    finally:
        log.propagate, log.handlers = before


@contextmanager
def _started(ray: Any, cpus: int) -> Iterator[Mapping[str, Any]]:
    folder = tempfile.mkdtemp(prefix="nablac-ray-")
    try:
        yield _start(ray, cpus, folder)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _joined(ray: Any, address: str) -> Iterator[Mapping[str, Any]]:
    connection = _join(ray, address)
    try:
        yield connection
    finally:
        ray.shutdown()


def _start(ray: Any, cpus: int, folder: str) -> Mapping[str, Any]:
    """Start a cluster of this machine."""
    # Others cannot join it. Ray reads the token once in a process, and would write one of its own to a file.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    reason = ""
    for _ in range(_TRIES):
        try:
            return _init(
                ray,
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=_STORE,
                _temp_dir=folder if len(folder) <= _LONGEST_FOLDER else None,
                _system_config=_CONFIGURATION,
            )
        except Exception as error:  # Ray raises bare ones
            reason = _first_line(error)
            ray.shutdown()
    message = f"no Ray cluster starts on this machine, tried {_TRIES} times"
    hint = "try again when the machine is less busy, or `ray start --head` and `--address auto`"
    raise NablacError(Diagnostic(codes.E893, message, place="--engine", note=reason, hint=hint))


def _join(ray: Any, address: str) -> Mapping[str, Any]:
    """Join a cluster that this machine is part of."""
    host, _, port = address.rpartition(":")
    hint = "`ray status` shows whether a cluster runs here; its address is host:port, as 10.0.0.1:6379"
    if address != "auto":
        if "/" in address or not host or not port.isdigit():
            message = f"`{address}` is not the address of a Ray cluster"
            raise NablacError(Diagnostic(codes.E893, message, place="--address", hint=hint))
        if (reason := _silence(host, int(port))) is not None:  # Ray itself would wait for minutes
            message = f"no Ray cluster answers at {address}"
            raise NablacError(Diagnostic(codes.E893, message, place="--address", note=reason, hint=hint))
    try:
        return _init(ray, address=address)
    except Exception as error:
        message = f"the Ray cluster at {address} cannot be joined"
        raise NablacError(
            Diagnostic(codes.E893, message, place="--address", note=_first_line(error), hint=hint)
        ) from None


def _init(ray: Any, **options: Any) -> Mapping[str, Any]:
    """Ray's own `init`, without the lines that its libraries print on stderr; returns its addresses."""
    errors = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        return dict(ray.init(log_to_driver=False, configure_logging=False, **options).address_info)
    finally:
        os.dup2(errors, 2)
        os.close(errors)
        os.close(nowhere)


def _silence(host: str, port: int) -> str | None:
    """Why no gRPC server answers at a port; None if one does: it begins with its settings."""
    try:
        with socket.create_connection((host.strip("[]"), port), timeout=_ANSWER) as connection:
            connection.settimeout(_ANSWER)
            connection.sendall(_PREFACE)
            frame = connection.recv(9)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None if len(frame) > 3 and frame[3] == 4 else "what answers there is not Ray"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]

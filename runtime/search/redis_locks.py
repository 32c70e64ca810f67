"""Locks of a study in a Redis server: keys that expire unless the process that has them renews them."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis import Redis

_EXPIRY = 60.0  # seconds after which the locks of a dead process are free
_RENEWAL = 10.0  # seconds between renewals


class RedisLocks:
    """Keys `nablac:NAME`, renewed by a thread of this process."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._acquired: dict[str, Any] = {}
        self._guard = threading.Lock()  # of the table, which the thread reads
        self._renewing = False

    def acquire(self, name: str, wait: bool = True) -> bool:
        """Acquire the lock of a name."""
        lock = self._client.lock(f"nablac:{name}", timeout=_EXPIRY, thread_local=False)
        if not lock.acquire(blocking=wait):
            return False
        with self._guard:
            self._acquired[name] = lock
            if not self._renewing:
                self._renewing = True
                threading.Thread(target=self._renew, daemon=True).start()
        return True

    def release(self, name: str, is_last: bool = False) -> None:
        """Release the lock; one that has expired is free already."""
        from redis.exceptions import LockError

        with self._guard:
            lock = self._acquired.pop(name)
            with suppress(LockError):
                lock.release()

    def _renew(self) -> None:
        """Renew what is acquired; a server that does not answer is reported by the calls that need it."""
        from redis.exceptions import LockError, RedisError

        pause = threading.Event()
        while not pause.wait(_RENEWAL):
            with self._guard:
                for lock in self._acquired.values():
                    try:
                        lock.reacquire()
                    except (LockError, RedisError):
                        continue

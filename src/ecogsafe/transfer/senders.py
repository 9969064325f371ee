"""The threads that carry requests out, apart for each store: one that hangs takes no thread from another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

#: requests in flight for each store
DEFAULT_SENDERS = 8


class Senders:
    """A few threads for each store, begun when the store is first used."""

    def __init__(self, per_store: int = DEFAULT_SENDERS) -> None:
        #: requests in flight for each store
        self.per_store = per_store
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()
        #: unexpected exceptions of requests that nobody waited for any more
        self.bugs: list[BaseException] = []

    def submit(self, store_id: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``call`` on a thread of ``store_id`` as soon as one is free."""
        with self._lock:
            pool = self._pools.get(store_id)
            if pool is None:
                pool = ThreadPoolExecutor(self.per_store, thread_name_prefix="sender")
                self._pools[store_id] = pool
            return pool.submit(call, *args, **kwargs)

    def close(self) -> None:
        """Wait for every request and end the threads."""
        for pool in self._pools.values():
            pool.shutdown(wait=True)

    def __enter__(self) -> Senders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

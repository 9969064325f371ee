"""What another process of a run may meet: its own end, and a bug that little may be said of."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TypeVar

from ecogsafe.core.errors import EcogsafeError

T = TypeVar("T")


class WorkerGoneError(Exception):
    """The process that was to make or send something ended; what became of that only the store knows."""


class WorkerBugError(Exception):
    """A bug that a worker met: its kind and where, without the message, which may name something private."""


def tellable(error: BaseException) -> EcogsafeError | WorkerBugError:
    """Return ``error``, or what may be said of it if it is not one of ours."""
    if isinstance(error, EcogsafeError):
        return error
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = ", ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return WorkerBugError(f"{type(error).__name__} at {where}")


def without_bug(result: T) -> T | EcogsafeError | WorkerBugError:
    """Return ``result``, where it is an error as `tellable`."""
    return tellable(result) if isinstance(result, BaseException) else result

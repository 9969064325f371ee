"""What is wrong with a store is told once for the store, with a count, and not once for every file it met."""

from __future__ import annotations

from ecogsafe.core.errors import FINDINGS, EcogsafeError, ExitStatus, StoreError
from ecogsafe.core.events import ErrorEvent
from ecogsafe.service.running import Run


def counted(error: StoreError, files: int) -> StoreError:
    """Return ``error`` with how many files it kept from a store."""
    if files < 1:
        return error
    what = "1 file" if files == 1 else f"{files:,} files"
    return type(error)(error.item, f"{error.problem}; {what} did not get there", safe=error.safe, next=error.next)


class StoreFailures:
    """The failures of one run that are a store's, by store; several threads may note them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._met: dict[tuple[str, str, str], list[StoreError]] = {}

    def note(self, error: EcogsafeError, url: str, *, files: int = 1) -> None:
        """Count ``files`` that failed; tell at once what is wrong with them, and in the end what is with the store.

        Parameters
        ----------
        url
            Of the store that they were on their way to.
        """
        run = self._run
        with run.counting:
            if not isinstance(error, StoreError) or error.item != url:
                run.fail(error)
                run.tally.failed += files - 1
                return
            run.tally.failed += files
            run.tally.note(error.exit_status if error.exit_status in FINDINGS else ExitStatus.PARTIAL)
            self._met.setdefault((url, error.code, error.problem), []).extend([error] * files)

    def take(self, url: str) -> None:
        """Leave the failures of one store to somebody who tells of that store as a whole."""
        with self._run.counting:
            for kind in [kind for kind in self._met if kind[0] == url]:
                del self._met[kind]

    def tell(self) -> None:
        """Tell each kind of failure of each store once, with how many files it met."""
        with self._run.counting:
            told, self._met = self._met, {}
        for errors in told.values():
            self._run.tell(ErrorEvent.of(counted(errors[0], len(errors))))

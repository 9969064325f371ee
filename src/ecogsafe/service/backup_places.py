"""The destinations of one ``backup``: each is opened, and one that fails leaves the others to go on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.core.config import Destination
from ecogsafe.core.errors import ConfigError, EcogsafeError, StoreError, UsageError
from ecogsafe.service.archive_request import ArchiveRequest
from ecogsafe.service.connections import Connection, connected, one_url
from ecogsafe.service.folder_access import access_of
from ecogsafe.service.running import Run
from ecogsafe.service.upload_request import UploadRequest


@dataclass(slots=True)
class Goal:
    """One destination of the config in this run."""

    destination: Destination
    #: None: it could not be opened
    connection: Connection | None = None
    #: why nothing more is sent there in this run
    failure: EcogsafeError | None = None

    @property
    def name(self) -> str:
        """What the config calls it."""
        return self.destination.name

    @property
    def is_open(self) -> bool:
        """Whether it takes part still."""
        return self.failure is None

    def store_id(self, run: Run) -> str | None:
        """Return the id of the store there, as the catalogue knows it where it could not be asked; None for none."""
        if self.connection is not None:
            return self.connection.store_id
        with run.catalog.read() as tx:
            row = catalog_stores.store_by_url(tx, one_url(self.destination.url))
        return None if row is None else row.store_id

    def fail(self, run: Run, error: EcogsafeError) -> None:
        """Send nothing more there, and tell why by the name of the destination."""
        with run.counting:
            if self.failure is None:
                self.failure = error
                run.counts["destinations_failed"] = run.counts.get("destinations_failed", 0) + 1
                run.fail(error)

    def request(self, folder: Path, data_type: str) -> UploadRequest:
        """Return what `upload` would be asked for."""
        where = self.destination
        return UploadRequest(
            folder=folder,
            url=where.url,
            data_type=data_type,
            encrypt=where.encrypt,
            plain=where.plain,
            storage_class=where.storage_class,
            sse=where.sse,
            access=access_of(where),
        )

    def archive_request(self, folder: Path, data_type: str) -> ArchiveRequest:
        """Return what `archive` would be asked for."""
        where = self.destination
        return ArchiveRequest(
            folders=(folder,),
            url=where.url,
            kind="vid" if data_type == "v" else "edf",
            storage_class=where.storage_class,
            index_url=where.index_url,
            sse=where.sse,
        )


def goals_of(destinations: Sequence[Destination], folder: Path) -> list[Goal]:
    """Return a goal for each destination, none opened yet.

    Raises
    ------
    ConfigError
        There is none, or what the config asks of one contradicts itself.
    """
    if not destinations:
        raise ConfigError(
            "config.toml",
            "names no destination",
            next="write a [[destination]] for each place into it, then run again",
        )
    goals = [Goal(destination) for destination in destinations]
    for goal in goals:
        for data_type in goal.destination.types:
            try:
                if goal.destination.archive:
                    goal.archive_request(folder, data_type).check()
                else:
                    goal.request(folder, data_type).check()
            except UsageError as error:
                raise ConfigError(
                    "config.toml", f"destination {goal.name}: {error.problem}", next="mend it and run again"
                ) from error
    return goals


def open_goals(run: Run, goals: Sequence[Goal], stack: ExitStack) -> None:
    """Open every destination; one that cannot be opened is told of, and the others go on."""
    for goal in goals:
        run.check_stop(safe="Nothing was sent")
        where = goal.destination
        try:
            goal.connection = stack.enter_context(
                connected(run.catalog, where.url, sse=where.sse, stop=run.stop, tell=run.tell, access=access_of(where))
            )
        except (StoreError, UsageError) as error:
            goal.fail(run, error)


def raise_if_none_open(goals: Sequence[Goal]) -> None:
    """Raise what the first destination failed with, if every one failed (DESIGN 4: 10 then)."""
    failures = [goal.failure for goal in goals if goal.failure is not None]
    if len(failures) == len(goals):
        raise next((error for error in failures if isinstance(error, StoreError)), failures[0])

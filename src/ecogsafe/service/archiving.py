"""One kind of data on its way into one store as sealed volumes: planned, told, and sent one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import ExitStack

from ecogsafe.catalog import archives
from ecogsafe.catalog.archives import ArchiveKind
from ecogsafe.core.errors import EcogsafeError, StoreError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.service.archive_costs import cost_items
from ecogsafe.service.archive_indexes import Indexes
from ecogsafe.service.archive_planning import ArchivePlan, ArchivePlanner, FileToArchive, PlannedVolume
from ecogsafe.service.archive_request import ArchiveRequest
from ecogsafe.service.archive_volumes import VolumeSender
from ecogsafe.service.connections import Connection, connected, one_url
from ecogsafe.service.folder_access import access_at
from ecogsafe.service.price_table import price_table_for
from ecogsafe.service.running import Run
from ecogsafe.service.store_failures import StoreFailures
from ecogsafe.transfer.archive.planning import plan_again
from ecogsafe.transfer.archive.sending import settle_volume
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.work import Place


class Archiving:
    """See the module.

    Parameters
    ----------
    request
        Completed by the settings.
    troubles
        Takes what is wrong with a store; whoever ends the run tells of it.

    Raises
    ------
    UsageError
        The store cannot take archives.
    """

    def __init__(
        self,
        run: Run,
        context: TransferContext,
        request: ArchiveRequest,
        connection: Connection,
        troubles: StoreFailures,
    ) -> None:
        if connection.store.capabilities.equal_parts:
            raise UsageError(
                connection.store.name,
                "takes only parts of one size, and those of an archive have several",
                safe="Nothing was archived there",
                next="archive to another store; ecogsafe upload sends the files themselves to this one",
            )
        self.run = run
        self.request = request
        self.connection = connection
        self.plan = ArchivePlan()
        #: why volumes failed
        self.failures: list[EcogsafeError] = []
        self.troubles = troubles
        self._stored = 0
        self._context = context
        self._place = Place(
            store=connection.store,
            store_id=connection.store_id,
            sealed=True,
            storage_class=request.storage_class,
            order=connection.order,
        )
        self._sender: VolumeSender | None = None
        self._indexes: Indexes | None = None

    def make_plan(
        self,
        files: Mapping[str, Sequence[FileToArchive]],
        *,
        reads_once: bool = False,
        numbers: MutableMapping[tuple[str, ArchiveKind], int] | None = None,
    ) -> None:
        """Plan the volumes of these files, by subject, and tell of them; see `ArchivePlanner` for the options.

        Raises
        ------
        LockedError
            Another run archives a subject.
        StoreError
            The store does not say what it holds.
        """
        if not self.request.dry_run:
            for code in files:
                self.run.hold_archives(code)
            self._settle(list(files))
        planner = ArchivePlanner(self.run, self.connection, self.request.kind, reads_once=reads_once, numbers=numbers)
        for code, wanted in files.items():
            planner.add(code, wanted)
        self.plan = planner.plan
        self._tell_plan()

    def begin(self, warm: Connection | None, senders: Senders, *, others_go_on: Callable[[], bool] | None) -> None:
        """Get ready to send.

        Parameters
        ----------
        warm
            Where the indexes go; None where that is out of reach.
        others_go_on
            See `ecogsafe.transfer.archive.sending.send_volume`.
        """
        self._indexes = Indexes(self.run, self._context, senders, warm, self.troubles)
        self._sender = VolumeSender(
            self.run, self._context, self._place, senders, self.troubles, others_go_on=others_go_on
        )

    def make_up_indexes(self) -> None:
        """Send the indexes that are missing; to be called once, after `begin`."""
        if self._indexes is not None:
            self._indexes.make_up(self.plan.standing)

    def send(self, volume: PlannedVolume) -> PlannedVolume | None:
        """Send one volume and its index; return it as it is to be sent again where its store stalled."""
        if self._sender is None or self._indexes is None:
            raise ValueError("this archive was not begun")
        stored = self._sender.send(volume)
        self.failures += self._sender.take_failures()
        if stored is not None:
            self._stored += len(volume.members)
            self._indexes.send(stored)
        return self._sender.take_detached()

    @property
    def files_left(self) -> int:
        """Files of the plan whose volumes are not stored."""
        return max(0, self.plan.files_total - self._stored)

    def _settle(self, codes: Sequence[str]) -> None:
        """Find the volumes that an earlier run completed without living to know it."""
        for code in codes:
            with self.run.catalog.read() as tx:
                rows = archives.volumes_of(
                    tx, subject=code, kind=self.request.kind, store_id=self._place.store_id, state="sending"
                )
            for row in rows:
                settle_volume(self._context, plan_again(row, self._place, ()))

    def _tell_plan(self) -> None:
        run, plan, request = self.run, self.plan, self.request
        for volume in plan.volumes:
            run.tell(self._item_of(volume))
        table = price_table_for(request.url, run.home.root)
        if table is not None:
            store = self.connection.store.name
            for item in cost_items(plan, table, storage_class=request.storage_class, store=store):
                run.tell(item)
        if request.dry_run:
            self._tell_members()
            run.message = (
                f"{plan.files_total} files, {plan.bytes_total:,} bytes would be archived in {len(plan.volumes)} volumes"
            )

    def _item_of(self, volume: PlannedVolume) -> Item:
        again = ", continued" if volume.row is not None else ""
        return Item(
            action="archive",
            status="planned" if self.request.dry_run else "note",
            subject=volume.name.subject,
            key=volume.name.key,
            store=self.connection.store.name,
            bytes=volume.bytes,
            message=f"{len(volume.members)} files, {volume.bytes:,} bytes, about {volume.packed:,} sealed{again}",
            details={"files": len(volume.members), "estimated_bytes": volume.packed},
        )

    def _tell_members(self) -> None:
        for volume in self.plan.volumes:
            for member in volume.members:
                stored = member.source.stored
                self.run.tell(
                    Item(
                        action="archive",
                        status="planned",
                        subject=volume.name.subject,
                        segment=member.source.segment,
                        path=f"{member.source.tree}/{member.source.entry.path}",
                        key=volume.name.key,
                        bytes=member.source.entry.size,
                        message="stored as it is" if stored else f"compressed to about {member.ratio:.0%}",
                    )
                )


def warm_place(run: Run, stack: ExitStack, request: ArchiveRequest, connection: Connection) -> Connection | None:
    """Return where the indexes go; None if that place cannot be reached now: the volumes go all the same."""
    if request.index_url is None or one_url(request.index_url) == one_url(request.url):
        return connection
    try:
        return stack.enter_context(
            connected(
                run.catalog,
                request.index_url,
                stop=run.stop,
                tell=run.tell,
                access=access_at(run.home.settings(), request.index_url),
            )
        )
    except StoreError as error:
        run.fail(error)
        return None

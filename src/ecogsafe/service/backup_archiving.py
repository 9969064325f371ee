"""The archives of a ``backup``: made on a thread of their own, from the read that fills the other places too."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType

from ecogsafe.catalog.archives import ArchiveKind
from ecogsafe.catalog.files import Tree
from ecogsafe.core.errors import (
    EcogsafeError,
    LockedError,
    StoreError,
    StoreForbiddenError,
    StoreFullError,
    StoreUnreachableError,
    UsageError,
)
from ecogsafe.service.archive_planning import FileToArchive, PlannedMember, PlannedVolume, in_order
from ecogsafe.service.archive_request import ArchiveRequest
from ecogsafe.service.archiving import Archiving, warm_place
from ecogsafe.service.backup_places import Goal
from ecogsafe.service.backup_subjects import Outbox
from ecogsafe.service.connections import Connection, one_url
from ecogsafe.service.running import Run, raise_if_all_failed
from ecogsafe.service.store_failures import StoreFailures, counted
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.shared_reading import SharedReading, Side
from ecogsafe.transfer.source import FileSource, RangedSource, Source
from ecogsafe.transfer.work import Shipment

#: so many times as long as a store may stall, the two who read wait for each other: to put a large object together
#: at its end takes some stores a minute
_PATIENCE = 4
_LOOK_EVERY_S = 0.5


@dataclass(slots=True)
class GoalArchive:
    """One kind of data for one archive destination."""

    goal: Goal
    archiving: Archiving
    #: where its indexes go; None: out of reach
    warm: Connection | None


@dataclass(slots=True)
class _Task:
    archive: GoalArchive
    volume: PlannedVolume
    #: the files of it that are read together with the other side, by their numbers
    shared: list[int]


def plan_archives(
    run: Run,
    context: TransferContext,
    goals: Sequence[Goal],
    outbox: Outbox,
    root: int,
    stack: ExitStack,
    troubles: StoreFailures,
) -> list[GoalArchive]:
    """Return what every archive destination gets; one that fails while it is asked is told of and left out.

    Parameters
    ----------
    root
        Descriptor of DIR.
    troubles
        Takes what is wrong with a store.
    """
    planned: list[GoalArchive] = []
    numbers: dict[tuple[str, ArchiveKind], int] = {}
    for goal in goals:
        for data_type in goal.destination.types if goal.destination.archive else ():
            run.check_stop(safe="Nothing was sent")
            files = in_order(FileToArchive(file, root) for file in outbox.files(data_type))
            if not files or not goal.is_open or goal.connection is None:
                continue
            request = goal.archive_request(outbox.folder, data_type).completed(run.home.settings())
            try:
                archiving = Archiving(run, context, request, goal.connection, troubles)
                archiving.make_plan(files, reads_once=True, numbers=numbers)
            except (StoreError, UsageError) as error:
                goal.fail(run, error)
            except LockedError as error:
                # somebody archives one of these subjects by hand just now
                run.fail(error)
            else:
                warm = _warm(run, goals, stack, request, goal.connection)
                planned.append(GoalArchive(goal, archiving, warm))
    return planned


def _warm(
    run: Run, goals: Sequence[Goal], stack: ExitStack, request: ArchiveRequest, connection: Connection
) -> Connection | None:
    """Return where the indexes go; None if it is a destination that failed, which was told."""
    for goal in goals:
        if request.index_url is not None and one_url(goal.destination.url) == one_url(request.index_url):
            return goal.connection if goal.is_open else None
    return warm_place(run, stack, request, connection)


class ArchivesBeside:
    """Makes the archives while the files go to the other places; as a context it does so on its own thread.

    Parameters
    ----------
    shipments
        What goes to the other places.
    """

    def __init__(
        self, run: Run, context: TransferContext, archives: Sequence[GoalArchive], shipments: Sequence[Shipment]
    ) -> None:
        self._run = run
        self._context = context
        self._archives = archives
        self._shipments = {(s.tree, s.path): s for s in shipments}
        self._numbers: dict[tuple[Tree, str], int] = {}
        self._sizes: list[int] = []
        self._tasks = self._share_out()
        #: read together with the archives, in their order; and all the others
        self.shared = [self._shipments[where] for where in self._numbers]
        self.others = [s for s in shipments if (s.tree, s.path) not in self._numbers]
        self._reading = SharedReading(
            self._sizes,
            stop=context.stop,
            patience_s=_PATIENCE * context.pool.stall_s,
            left_behind=self._tell_left_behind,
        )
        self.shared = [self._together(shipment, number) for number, shipment in enumerate(self.shared)]
        #: stores that were given up when it was last looked
        self._forgotten = 0
        self._files_are_over = threading.Event()
        self._bug: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="archives", daemon=True)
        self._failures: Counter[int] = Counter()
        #: destinations that nothing more is sent to, by `id`, and why
        self._lost: dict[int, StoreError] = {}

    def _share_out(self) -> list[_Task]:
        """Return the volumes in the order in which they are made: those first whose files go elsewhere too."""
        volumes = [(archive, volume) for archive in self._archives for volume in archive.archiving.plan.volumes]
        volumes.sort(key=lambda pair: (not self._goes_elsewhere(pair[1]), pair[1].name.subject, pair[1].name.kind))
        return [_Task(archive, volume, self._take_numbers(volume)) for archive, volume in volumes]

    def _goes_elsewhere(self, volume: PlannedVolume) -> bool:
        return any(_where(member) in self._shipments for member in volume.members)

    def _take_numbers(self, volume: PlannedVolume) -> list[int]:
        """Number the files of a volume that go elsewhere too; a second archive of the same files reads by itself."""
        numbers: list[int] = []
        for member in volume.members:
            where = _where(member)
            shipment = self._shipments.get(where)
            if shipment is not None and where not in self._numbers and shipment.size == member.source.stat.size:
                self._numbers[where] = len(self._sizes)
                numbers.append(len(self._sizes))
                self._sizes.append(shipment.size)
        return numbers

    def _together(self, shipment: Shipment, number: int) -> Shipment:
        """Return the shipment with its file read together with the archive; in this process, where that is."""
        open_alone = shipment.open_source

        def open_source() -> Source:
            try:
                opened = open_alone()
            except BaseException:
                self._reading.finish(Side.FILES, number)
                raise
            return self._reading.source(Side.FILES, number, opened) if isinstance(opened, FileSource) else opened

        return replace(shipment, open_source=open_source, order=None)

    def _member_together(self, member: PlannedMember, number: int) -> PlannedMember:
        open_alone = member.source.open

        def open_source() -> RangedSource:
            opened = open_alone()
            return self._reading.source(Side.ARCHIVE, number, opened) if isinstance(opened, FileSource) else opened

        return replace(member, source=replace(member.source, open=open_source))

    def _tell_left_behind(self, side: Side) -> None:
        if side is Side.ARCHIVE:
            message = "the archive did not move for long: the other places go on, and its files are read again for it"
        else:
            message = "the other places did not move for long: the archive goes on, and their files are read again"
        self._context.tell("archive", message)

    # what the run's own thread does

    def __enter__(self) -> ArchivesBeside:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._context.stop.set()
        self.files_are_over()
        self._thread.join()

    def forget_lost(self) -> None:
        """Do not wait for files that go nowhere any more, as every one of their places was given up."""
        lost = set(self._context.lost)
        if len(lost) == self._forgotten:
            return
        self._forgotten = len(lost)
        gone = [n for n, s in enumerate(self.shared) if lost.issuperset(place.store_id for place in s.places)]
        self._reading.finish(Side.FILES, *gone)

    def files_are_over(self) -> None:
        """The other places have what they get in this run."""
        self._reading.leave(Side.FILES)
        self._files_are_over.set()

    def wait(self, now_and_then: Callable[[], None]) -> None:
        """Wait for the archives; raise a bug that they met."""
        while self._thread.is_alive():
            self._thread.join(_LOOK_EVERY_S)
            now_and_then()
        again = self._reading.bytes_read - sum(self._sizes)
        if again > 0:
            self._run.counts["bytes_read_again"] = again
        if self._bug is not None:
            raise self._bug

    # what the thread of the archives does

    def _work(self) -> None:
        try:
            with Senders(pace=self._context.pace) as senders:
                self._send_all(senders)
            if senders.bugs:
                raise senders.bugs[0]
        except BaseException as error:  # noqa: BLE001  the run's own thread raises it
            self._bug = error
        finally:
            self._reading.leave(Side.ARCHIVE)

    def _send_all(self, senders: Senders) -> None:
        for archive in self._archives:
            archive.archiving.begin(archive.warm, senders, others_go_on=lambda: not self._files_are_over.is_set())
        detached: list[_Task] = []
        for task in self._tasks:
            try:
                detached += self._send(task)
            finally:
                self._reading.finish(Side.ARCHIVE, *task.shared)
        self._reading.leave(Side.ARCHIVE)
        for archive in self._archives:
            if not self._context.stop.is_set():
                archive.archiving.make_up_indexes()
        if detached:
            self._files_are_over.wait()
        for task in detached:
            self._send(task)
        for goal in {id(archive.goal): archive.goal for archive in self._archives}.values():
            self._end(goal, [archive.archiving for archive in self._archives if archive.goal is goal])

    def _end(self, goal: Goal, archivings: Sequence[Archiving]) -> None:
        """Tell once what was wrong with a place, with how many files did not get there."""
        why: EcogsafeError | None = self._lost.get(id(goal))
        try:
            failures = [error for archiving in archivings for error in archiving.failures]
            raise_if_all_failed(failures, sum(len(archiving.plan.volumes) for archiving in archivings))
        except EcogsafeError as error:
            why = why or error
        for archiving in archivings:
            if why is not None:
                archiving.troubles.take(archiving.connection.store.url)
        if isinstance(why, StoreError):
            why = counted(why, sum(archiving.files_left for archiving in archivings))
        if why is not None:
            goal.fail(self._run, why)

    def _send(self, task: _Task) -> list[_Task]:
        """Send one volume; return it if it is to be sent again when the other places are through."""
        goal, archiving = task.archive.goal, task.archive.archiving
        if self._context.stop.is_set() or not goal.is_open or id(goal) in self._lost:
            return []
        shared = set(task.shared)
        members = tuple(
            self._member_together(member, number)
            if (number := self._numbers.get(_where(member))) is not None and number in shared
            else member
            for member in task.volume.members
        )
        before = len(archiving.failures)
        again = archiving.send(replace(task.volume, members=members))
        self._give_up_if_lost(goal, archiving.failures[before:])
        return [_Task(task.archive, again, [])] if again is not None else []

    def _give_up_if_lost(self, goal: Goal, failures: Sequence[EcogsafeError]) -> None:
        """Send nothing more to a place that is out of reach for one volume after the other."""
        most = self._context.give_up_after
        for error in failures:
            if isinstance(error, StoreError) and error.ends_store:
                self._lost.setdefault(id(goal), error)
            elif isinstance(error, StoreUnreachableError | StoreFullError | StoreForbiddenError):
                self._failures[id(goal)] += 1
                if self._failures[id(goal)] == most:
                    self._lost.setdefault(id(goal), error)
        if not failures:
            self._failures[id(goal)] = 0


def _where(member: PlannedMember) -> tuple[Tree, str]:
    return member.source.tree, member.source.entry.path

"""``deid reidentify``: a copy that NeuroWorks opens, under the original names; OUT stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ecogsafe.catalog import stores
from ecogsafe.core.errors import ExitStatus, UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.codes import is_code
from ecogsafe.deid.journal import Journal
from ecogsafe.deid.reidentify import Reidentification
from ecogsafe.deid.reidentify_plan import Refused, check_folder, standing, wanted_files
from ecogsafe.service.acts import note_act
from ecogsafe.service.deid_journals import journals_of
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.persons import open_keys
from ecogsafe.service.running import Run
from ecogsafe.stores.open import parse_store_url


def reidentify(run: Run, code: str, folder: Path, password: PasswordSource, *, out: Path | None = None) -> None:
    """Make the files of ``code`` again in ``folder``, under the names and with the bytes of their export.

    Parameters
    ----------
    out
        Where the files stand now, if not where apply put them: an OUT that moved, or a folder that
        ``ecogsafe download`` filled.

    Raises
    ------
    UsageError
        No journal of this home tells of the subject, or ``folder`` is none where names may stand.
    LockedError
        The subject is being worked on.
    """
    if not is_code(code):
        raise UsageError("CODE", "is not a subject code", next="ecogsafe subjects list shows the codes")
    if out is not None and not out.is_dir():
        raise UsageError("--from", "is not a folder", next="name the OUT folder, or leave --from out")
    keys = open_keys(run.home, run.catalog, password)
    run.hold_subject(code, shared=True)
    run.refuse_open_journal(code)
    journals = journals_of(run, keys)
    pairs = standing(code, journals=journals)
    if not pairs:
        raise UsageError(code, "no journal of this home tells of files of this subject", next="ecogsafe subjects list")
    applied = {journal.id: journal for journal, _ in pairs}
    place = check_folder(folder, code, [*_refused(run, list(applied.values()), out)])
    run.tell(
        Item(
            action="reidentify",
            status="note",
            subject=code,
            message="warning: DIR will hold the person's name, in file names and files. Only you may read it; keep it "
            "out of shared folders, and remove it when it is no longer needed",
        )
    )
    work = Reidentification(
        code=code, files=wanted_files(pairs), folder=place, events=run.tell, out=out, stop=run.stop.is_set
    )
    outcome = work.carry_out()
    left = [n for n in outcome.not_done if n.status is ExitStatus.DONE]
    skipped = [n for n in outcome.not_done if n.status is not ExitStatus.DONE]
    run.tally.done += len(outcome.done)
    run.tally.bytes += outcome.bytes
    run.tally.left_behind += len(left)
    run.tally.skipped += len(skipped)
    for status in outcome.statuses:
        run.tally.note(status)
    with run.catalog.write() as tx:
        note_act(tx, run, "deid reidentify", subject=code, result=f"{len(outcome.done)} files")
    run.message = (
        f"{len(outcome.done)} files stand in DIR as they were in their export, {len(skipped)} could not be made; "
        "reports and other files that apply left behind are not among them"
    )


def _refused(run: Run, applied: Sequence[Journal], out: Path | None) -> Iterator[Refused]:
    """Yield the folders that are shared, sent or copied, where names must never stand."""
    yield Refused(run.home.root, "the home folder of ecogsafe")
    for place in {j.out_root for j in applied} | ({out.absolute()} if out else set()):
        yield Refused(place, "OUT")
    settings = run.home.settings()
    if settings.outbox:
        yield Refused(Path(settings.outbox), "the outbox")
    with run.catalog.read() as tx:
        met = [row.url for row in stores.all_stores(tx)]
    for url in {*met, *(d.url for d in settings.destination), *settings.key_backup_urls()}:
        folder = parse_store_url(url).folder if url.startswith("file://") else None
        if folder is not None:
            yield Refused(folder, "a destination")

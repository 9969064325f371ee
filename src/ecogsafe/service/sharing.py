"""``share`` and its way back: planned, asked, journalled, then carried out entry by entry."""

from __future__ import annotations

import grp
import os
import re
import secrets
from pathlib import Path

from ecogsafe.catalog import audit
from ecogsafe.core.clock import utc_now
from ecogsafe.core.durable import write_atomically
from ecogsafe.core.errors import ExitStatus, InterruptedRunError, UsageError, VerificationError
from ecogsafe.core.events import Item
from ecogsafe.core.private import mask
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.deid.codes import is_code
from ecogsafe.deid.layout import CODE, DECIMATED
from ecogsafe.deid.sharing import SharePlan, plan_share, set_rights
from ecogsafe.service.deid_journals import tell_key_backup
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.outgoing import marked_subjects
from ecogsafe.service.persons import Confirm, open_keys
from ecogsafe.service.running import Run, unfinished_journal

#: folders and files below an OUT (DESIGN 3)
_OURS = re.compile(
    rf"\.|video|edf|text|{DECIMATED}|{CODE}(?:_(?:edf|vtc|snc|\d{{1,6}}))?(?:_\d{{3,6}})?(?:\.[a-z0-9]{{1,4}})?",
    re.ASCII,
)


def share(run: Run, folder: Path, group: str, confirm: Confirm) -> None:
    """Give the group access to everything in ``folder``, and nobody else.

    Raises
    ------
    UsageError
        There is no such group, or the folder is one that must not be shared.
    ConfirmationNeededError
        Nobody said yes.
    """
    try:
        group_id = grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError("--group", "there is no such group on this computer", next="getent group lists them") from None
    plan = plan_share(folder, group_id, home=run.home.root)
    _hold_subjects(run, plan)
    changing = [r for r in plan.rights if r.changes]
    if not changing:
        run.message = f"{len(plan.rights)} entries have these rights already"
        run.tally.present = len(plan.rights)
        return
    confirm(f"Give the group {group} access to {len(plan.rights)} entries and take it from everybody else?")
    _write_journal(run, plan)
    tell_key_backup(run)
    run.tally.present = len(plan.rights) - len(changing)
    _carry_out(run, plan, back=False)
    run.message = f"{run.tally.done} entries belong to the group {group}; ecogsafe share DIR --undo takes it back"
    _audit(run, "share", group)


def undo_share(run: Run, folder: Path, password: PasswordSource) -> None:
    """Give every entry of the newest share of ``folder`` the rights it had.

    Raises
    ------
    UsageError
        The folder was never shared from this home.
    """
    keys = open_keys(run.home, run.catalog, password)
    wanted = folder.resolve()
    for path in sorted(run.home.shares.glob("*.age"), reverse=True):
        plan = SharePlan.from_json(open_sealed(path.read_bytes(), [keys.identity]))
        if plan.folder == wanted:
            _hold_subjects(run, plan)
            _carry_out(run, plan, back=True)
            run.message = f"{run.tally.done} entries have the rights they had before"
            _audit(run, "share-undo", str(plan.group))
            return
    raise UsageError("DIR", "was never shared from this home", next="check the path")


def _hold_subjects(run: Run, plan: SharePlan) -> None:
    codes = {p.split("_", 1)[0] for r in plan.rights for p in (*Path(r.path).parts[:2], plan.folder.name)}
    unfinished = marked_subjects(plan.folder)
    for code in sorted(c for c in codes if is_code(c)):
        if code in unfinished:
            raise unfinished_journal(code)
        run.refuse_open_journal(code)
        run.hold_subject(code, shared=False)


def _write_journal(run: Run, plan: SharePlan) -> None:
    """Seal the way back and prove it readable by its size and bytes, before the first change."""
    folder = run.home.shares
    folder.mkdir(mode=0o700, exist_ok=True)
    sealed = seal(plan.to_json(), run.home.recipients(run.catalog))
    stamp = utc_now().strftime("%Y%m%dT%H%M%S%fZ")
    path = folder / f"{stamp}-{secrets.token_hex(4)}.age"
    write_atomically(path, sealed, replace=False)
    if path.read_bytes() != sealed or SharePlan.from_json(plan.to_json()) != plan:
        raise VerificationError("the share journal", "cannot be read back as it was written")


def _carry_out(run: Run, plan: SharePlan, *, back: bool) -> None:
    # on the way back the innermost first: a folder that loses rights must not shut out what it holds
    ordered = reversed(plan.rights) if back else plan.rights
    for right in ordered:
        if run.stop.is_set():
            raise InterruptedRunError(
                "share", "was interrupted", safe="Each entry has its old rights or its new ones", next="run it again"
            )
        if not right.changes:
            continue
        try:
            same = set_rights(plan.folder, right, back=back)
        except OSError as error:
            run.tally.failed += 1
            run.tally.note(ExitStatus.PARTIAL)
            message = f"its rights cannot be changed ({os.strerror(error.errno or 0)})"
            run.tell(Item(action="share", status="failed", path=_shown(right.path), message=message))
            continue
        if same:
            run.tally.done += 1
        else:
            run.tally.skipped += 1
            run.tally.note(ExitStatus.PARTIAL)
            message = "is no longer what it was; left as it is"
            run.tell(Item(action="share", status="skipped", path=_shown(right.path), message=message))


def _shown(path: str) -> str:
    """Return ``path`` as it may be told: DIR need not be an OUT, so names that are not of our form are masked."""
    return "/".join(part if _OURS.fullmatch(part) else mask(part) for part in path.split("/"))


def _audit(run: Run, act: str, group: str) -> None:
    with run.catalog.write() as tx:
        audit.append(
            tx,
            run_id=run.run_id,
            who=run.actor.who,
            host=run.actor.host,
            version=run.actor.version,
            act=act,
            object=f"group {group}",
            result=f"{run.tally.done} entries",
        )

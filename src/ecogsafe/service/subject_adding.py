"""``subjects add``: a person gets a code before there are any data of theirs."""

from __future__ import annotations

from ecogsafe.core.errors import UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.service.acts import note_act
from ecogsafe.service.deid_clearing import note_subject
from ecogsafe.service.deid_journals import tell_key_backup
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.persons import Confirm, check_code, choose_code, enter_person, open_keys, recognise
from ecogsafe.service.running import Run


def add_subject(
    run: Run, identifiers: Identifiers, code: str | None, password: PasswordSource, confirm: Confirm
) -> str:
    """Enter a person into the linking key, under ``code`` or a new one, and return the code.

    Somebody who is known keeps the code; what was not known of them is added.

    Raises
    ------
    UsageError
        There are no identifiers, or they fit several persons of the linking key.
    ConfirmationNeededError
        It may be somebody who is known, and nobody said whether it is.
    """
    check_code(code)
    if identifiers.is_empty:
        raise UsageError("the identifiers", "are missing", next="give --identifiers FILE, or - to type them")
    keys = open_keys(run.home, run.catalog, password)
    before = keys.file.read()
    known = recognise(before, identifiers, code)
    run.tell(Item(action="add", status="note", message=known.message))
    if known.question:
        confirm(known.question)
    chosen = choose_code(run.catalog, before, known, code)
    run.hold_subject(chosen, shared=False)
    person, _ = enter_person(keys, known, chosen, identifiers)
    note_subject(run, person)
    with run.catalog.write() as tx:
        note_act(tx, run, "subjects add", subject=chosen, result=f"revision {person.revision}")
    _tell(run, chosen, known.person is not None, learnt=before.person(chosen) != person)
    tell_key_backup(run)
    run.message = f"the code is {chosen}"
    return chosen


def _tell(run: Run, code: str, is_known: bool, *, learnt: bool) -> None:  # noqa: FBT001
    if not is_known:
        run.tally.done += 1
        run.tell(Item(action="add", status="done", subject=code, message="a new person"))
    elif not learnt:
        run.tally.present += 1
        run.tell(Item(action="add", status="present", subject=code, message="known already, with all of this"))
    else:
        run.tally.done += 1
        message = (
            "known already; more identifiers are known now, so that what was cleared before must be searched again: "
            f"ecogsafe deid scan DIR --subject {code}"
        )
        run.tell(Item(action="add", status="done", subject=code, message=message))

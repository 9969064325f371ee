"""Brings a catalogue to the newest revision: in one transaction, from the package alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from ecogsafe.catalog.failures import ITEM
from ecogsafe.core.errors import UsageError

_FOLDER = Path(__file__).parent / "migrations"


def scripts() -> ScriptDirectory:
    """Return the migrations of this package."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def check_known(revision: str) -> None:
    """Raise where ``revision`` is none of ours.

    Raises
    ------
    UsageError
        A newer ecogsafe wrote this catalogue.
    """
    try:
        scripts().get_revision(revision)
    except CommandError as error:
        raise UsageError(
            ITEM,
            f"was written by a newer ecogsafe (revision {revision})",
            next="bring ecogsafe up to date, then run again",
        ) from error


def migrate(connection: Connection, target: str, *, before: Callable[[], None] | None = None) -> None:
    """Bring the catalogue behind ``connection``, whose transaction is open, to ``target``.

    The caller commits; until then nothing has changed, so a kill leaves the older revision whole.

    Parameters
    ----------
    before
        Called once, if there is anything to do, before the first change.
    """
    script = scripts()

    def steps(revision: Any, context: Any) -> Any:
        found = script._upgrade_revs(target, revision)
        if found and before is not None:
            before()
        return found

    environment = EnvironmentContext(Config(), script, fn=steps)
    with environment:
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()

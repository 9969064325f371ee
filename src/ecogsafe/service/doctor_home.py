"""The home: settings, who else can read it, the catalogue, the keys."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.config import Settings
from ecogsafe.core.errors import EcogsafeError
from ecogsafe.service.doctor_report import Report
from ecogsafe.service.home import LAB_KEY_COMING, RESUME_KEY_SIZE, Home, PasswordSource

_AGE = b"age-encryption.org/v1\n-> scrypt "
_ARMORED = b"-----BEGIN AGE ENCRYPTED FILE-----"


def check_config(report: Report, home: Home) -> Settings | None:
    """Return the settings; None where config.toml cannot be used."""
    try:
        settings = home.settings()
    except EcogsafeError as error:
        report.error("config", error)
        return None
    if not home.config.exists():
        if home.is_initialised:
            report.note("config", "there is no config.toml; the defaults hold")
        return settings
    report.good("config", "config.toml can be read")
    if settings.time_zone is None:
        report.bad(
            "config",
            "no time_zone: Natus studies and EDF files cannot be put together",
            'add the zone of the recording site to config.toml: time_zone = "America/Los_Angeles"',
        )
    if settings.outbox is not None and not Path(settings.outbox).is_dir():
        report.bad("config", "the outbox is no folder here", "make it (mkdir), or correct outbox in config.toml")
    if not settings.destination:
        report.bad("config", "no [[destination]]: nothing says where copies go", "add them to config.toml")
    elif len(settings.destination) < settings.policy.copies:
        report.bad(
            "config",
            f"[policy] wants {settings.policy.copies} copies, and there are {len(settings.destination)} destinations",
            "add a [[destination]], or lower copies in [policy]",
        )
    if not settings.key_backup_urls():
        report.bad(
            "key copies",
            "no second copy of the linking key and the lab key anywhere: a dead disk takes the names with it",
            'add [key_backup] urls = ["file:///nas/…"] to config.toml',
        )
    return settings


def check_files(report: Report, home: Home) -> None:
    """Check that the home is there, and closed to everybody else."""
    if not home.is_initialised:
        if home.has_lost_its_key:
            report.bad("home", "lab-key.age is missing", "ecogsafe init --recover your recovery sheet")
        else:
            report.bad("home", "there is no home yet", "ecogsafe init, or name the right folder with --home")
        return
    open_to_others = _open_to_others(home)
    if open_to_others:
        report.bad(
            "permissions",
            f"others may read or change {len(open_to_others)} files or folders of the home: "
            f"{', '.join(open_to_others[:3])}{', …' if len(open_to_others) > 3 else ''}",
            "chmod -R go= on the home folder",
        )
    else:
        report.good("permissions", "the home is open to you only")
    if home.resume_key_file.exists() and home.resume_key_file.stat().st_size != RESUME_KEY_SIZE:
        report.bad("home", "resume.key is damaged", "delete it: unfinished uploads then start anew")


def _open_to_others(home: Home) -> list[str]:
    """Return the names, as the home has them, of what group or others have any right to."""
    found = []
    for path in [home.root, *sorted(home.root.rglob("*"))]:
        try:
            status = path.lstat()
        except OSError:
            continue
        if stat.S_ISLNK(status.st_mode):
            continue
        if status.st_mode & 0o077 or status.st_uid != os.geteuid():
            found.append("the home folder" if path == home.root else path.relative_to(home.root).as_posix())
    return found


def check_catalog(report: Report, catalog: Catalog) -> None:
    """Tell where the catalogue is; `Catalog.open` has looked whether it is whole."""
    report.good("catalogue", "the catalogue can be opened and is whole")
    if catalog.on_network_fs:
        report.note(
            "catalogue",
            "the home lies on a network file system: only one run at a time can work",
            "move the home to a disk of this computer, or use PostgreSQL (ECOGSAFE_CATALOG)",
        )


def check_key(report: Report, home: Home, catalog: Catalog, password: PasswordSource | None) -> None:
    """Check recipients.txt against the catalogue, and the lab key, by opening it where there is a password."""
    try:
        recipients = home.recipients(catalog)
    except EcogsafeError as error:
        report.error("recipients", error)
        return
    count = len(recipients)
    report.good("recipients", f"recipients.txt is the file the catalogue knows ({count} keys)")
    if count < 2:
        report.bad(
            "recipients",
            "only one key can open what is sealed: without a recovery key a lost password is the end",
            "ecogsafe key add-recipient, with the public half of a key that is kept elsewhere",
        )
    with catalog.read() as tx:
        rotates = bool(meta.get(tx, LAB_KEY_COMING))
    if rotates:
        report.bad("lab key", "a rotation of the lab key is unfinished", "ecogsafe key rotate goes on with it")
    try:
        begins = home.lab_key.read_bytes()[:64]
        if not begins.startswith((_AGE, _ARMORED)):
            report.bad("lab key", "lab-key.age is not a file that age locked", "ecogsafe init --recover your sheet")
        elif password is None:
            report.good("lab key", "lab-key.age can be read (--open-key opens it too)")
        else:
            home.identity(password, recipients)
            report.good("lab key", "the password opens the lab key, and data is sealed to it")
    except OSError as error:
        report.bad("lab key", f"lab-key.age cannot be read ({os.strerror(error.errno or 0)})", "check its permissions")
    except EcogsafeError as error:
        report.error("lab key", error)

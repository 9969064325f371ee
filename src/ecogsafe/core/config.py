"""config.toml: read, checked, frozen. An unknown key is an error that names the nearest known one."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ecogsafe.core.errors import ConfigError

T = TypeVar("T")
#: the owner must read back what was written; nobody else changes or runs it without being named in the group
_MODE = re.compile(r"0?6[0246][04]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One ``[[destination]]``: a place that ``backup`` fills."""

    name: str
    url: str
    #: of "v" (video and text) and "e" (EDF/BDF)
    types: tuple[str, ...] = ("v", "e")
    #: filled by ``archive``: volumes instead of single objects
    archive: bool = False
    #: where the indexes of those volumes go; None: to the first destination that is no archive
    index_url: str | None = None
    storage_class: str | None = None
    plain: bool = False
    #: seal EDF/BDF too
    encrypt: bool = False
    #: of what is made there, ``file://`` only
    group: str | None = None
    #: of files there, octal as "0640"
    mode: str | None = None
    sse: str | None = None
    offsite: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """``[policy]``: when a file is safe (DESIGN 5.10)."""

    copies: int = 3
    offsite: int = 1
    level: str = "checksum"
    restored_within_days: int = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBackup:
    """``[key_backup]``: where sealed copies of the keys and journals go."""

    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """``[notify]``: Apprise URLs."""

    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole of config.toml."""

    time_zone: str | None = None
    outbox: str | None = None
    destination: tuple[Destination, ...] = ()
    key_backup: KeyBackup = field(default_factory=KeyBackup)
    policy: Policy = field(default_factory=Policy)
    notify: Notify = field(default_factory=Notify)

    def key_backup_urls(self) -> tuple[str, ...]:
        """Return where key copies go: as configured, else every ``file://`` destination."""
        if self.key_backup.urls:
            return self.key_backup.urls
        return tuple(d.url for d in self.destination if d.url.startswith("file://"))


def _build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    names = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.0)[0]
            raise ConfigError(
                "config.toml", f"unknown key {where}{key}", next=f"did you mean {where}{near}? Mend it and run again"
            )
    values: dict[str, Any] = {}
    for key, value in table.items():
        expected = str(names[key].type)
        if expected.startswith("tuple[str"):
            if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                raise _wrong(where + key, "a list of texts")
            values[key] = tuple(value)
        elif expected.startswith("bool"):
            if not isinstance(value, bool):
                raise _wrong(where + key, "true or false")
            values[key] = value
        elif expected.startswith("int"):
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise _wrong(where + key, "a whole number")
            values[key] = value
        elif expected.startswith("str"):
            if not isinstance(value, str):
                raise _wrong(where + key, "a text in quotes")
            values[key] = value
        else:
            values[key] = value
    return kind(**values)


def _wrong(key: str, wanted: str) -> ConfigError:
    return ConfigError("config.toml", f"{key} must be {wanted}", next="mend it and run again")


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "a table")
    return value


def parse_settings(text: str) -> Settings:
    """Return the settings that ``text`` (TOML) holds.

    Raises
    ------
    ConfigError
        Not TOML, an unknown key, or a value that does not fit.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("config.toml", f"is not TOML ({error})", next="mend it and run again") from error
    nested: dict[str, Any] = dict(raw)
    if "destination" in nested:
        if not isinstance(nested["destination"], list):
            raise _wrong("destination", "written as [[destination]]")
        nested["destination"] = tuple(_destination(_table(d, "destination")) for d in nested["destination"])
    for name, kind in (("key_backup", KeyBackup), ("policy", Policy), ("notify", Notify)):
        if name in nested:
            nested[name] = _build(kind, _table(nested[name], name), f"{name}.")
    settings = _build(Settings, nested, "")
    names = [d.name for d in settings.destination]
    if len(set(names)) != len(names):
        raise _wrong("destination.name", "different for each destination")
    if settings.time_zone is not None:
        clinical_zone(settings.time_zone)
    if settings.policy.level not in ("stored", "checksum", "restored"):
        raise _wrong("policy.level", 'one of "stored", "checksum", "restored"')
    return settings


def _destination(table: Mapping[str, Any]) -> Destination:
    for needed in ("name", "url"):
        if needed not in table:
            raise _wrong(f"destination.{needed}", "given for every destination")
    destination = _build(Destination, table, "destination.")
    if not destination.url.startswith(("s3://", "azure://", "file:///")):
        raise _wrong("destination.url", "s3://bucket[/prefix], azure://container[/prefix] or file:///path")
    if destination.mode is not None and not _MODE.fullmatch(destination.mode):
        raise _wrong("destination.mode", 'an octal mode that lets the owner read and write, such as "0640"')
    if (destination.group or destination.mode) and not destination.url.startswith("file://"):
        raise _wrong("destination.group", "left out but for file:// (mode too)")
    if not destination.types or not set(destination.types) <= {"v", "e"}:
        raise _wrong("destination.types", 'a list of "v" and "e"')
    return destination


def clinical_zone(name: str) -> ZoneInfo:
    """Return the time zone ``name`` of the recording site.

    Raises
    ------
    ConfigError
        The IANA database has no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _wrong("time_zone", 'a zone such as "America/Los_Angeles"') from error


def load_settings(path: Path) -> Settings:
    """Return the settings of the file ``path``; the defaults where there is none.

    Raises
    ------
    ConfigError
        As `parse_settings`; also a file that cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("config.toml", "cannot be read", next="check its permissions and encoding") from error
    return parse_settings(text)

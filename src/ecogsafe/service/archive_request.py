"""What the user asked ``archive`` for, completed by what config.toml says of the destination."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ecogsafe.catalog.archives import ArchiveKind
from ecogsafe.core.config import Settings
from ecogsafe.core.errors import UsageError
from ecogsafe.service.connections import one_url

#: classes whose objects are cheap to keep and slow or dear to read, by the kind of store
_CLASSES_OF = {"s3": ("DEEP_ARCHIVE", "GLACIER", "GLACIER_IR"), "azure": ("Archive", "Cold", "Cool")}
CLASSES = tuple(name for names in _CLASSES_OF.values() for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRequest:
    """What the user asked for."""

    folders: tuple[Path, ...]
    url: str
    kind: ArchiveKind
    storage_class: str | None = None
    #: where the indexes go; None: see `completed`
    index_url: str | None = None
    sse: str | None = None
    dry_run: bool = False

    @property
    def data_type(self) -> str:
        """The same in the words of ``upload -t``."""
        return "v" if self.kind == "vid" else "e"

    def check(self) -> None:
        """Raise UsageError if the wishes contradict each other."""
        if self.kind not in ("vid", "edf"):
            raise UsageError("-t", "must be vid (video and text) or edf (EDF and BDF)")
        offered = _CLASSES_OF.get(self.url.partition("://")[0], ())
        if self.storage_class is not None and self.storage_class not in offered:
            step = f"choose one of {', '.join(offered)}" if offered else "leave it out, or archive to s3:// or azure://"
            raise UsageError("--storage-class", "no such class exists there", safe="Nothing was sent", next=step)
        if not self.folders:
            raise UsageError("-d", "no folder was given")

    def completed(self, settings: Settings) -> ArchiveRequest:
        """Return the request with what config.toml says where the user said nothing.

        The index goes to the destination's ``index_url``, else to the first destination that is no archive,
        else beside the volumes.
        """
        known = next((d for d in settings.destination if one_url(d.url) == one_url(self.url)), None)
        warm = next((d.url for d in settings.destination if not d.archive and d is not known), None)
        return replace(
            self,
            storage_class=self.storage_class or (known.storage_class if known else None),
            sse=self.sse or (known.sse if known else None),
            index_url=self.index_url or (known.index_url if known else None) or warm or self.url,
        )

"""What the user asked ``upload`` for, completed by what config.toml says of the destination."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ecogsafe.core.config import Settings
from ecogsafe.core.errors import UsageError
from ecogsafe.formats.kinds import ALWAYS_SEALED
from ecogsafe.service.connections import one_url
from ecogsafe.service.folder_access import access_of
from ecogsafe.service.outgoing import OutgoingFile
from ecogsafe.stores.directory_access import Access
from ecogsafe.transfer.senders import DEFAULT_SENDERS


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRequest:
    """What the user asked for."""

    folder: Path
    url: str
    #: "v" or "e"
    data_type: str
    #: seal EDF/BDF too
    encrypt: bool = False
    #: leave video and text unsealed (``file://`` only)
    plain: bool = False
    #: requests at once, at most
    jobs: int = DEFAULT_SENDERS
    #: as typed: ``20M``, ``18:00-06:00``
    limit_rate: str | None = None
    between: str | None = None
    storage_class: str | None = None
    exclude: tuple[str, ...] = ()
    new_version: bool = False
    dry_run: bool = False
    sse: str | None = None
    #: group and mode of what is made in a folder
    access: Access | None = None

    def seals(self, file: OutgoingFile) -> bool:
        """Return whether ``file`` goes sealed."""
        by_type = not self.plain if self.data_type == "v" else self.encrypt
        return by_type or file.kind in ALWAYS_SEALED

    def check(self) -> None:
        """Raise UsageError if the wishes contradict each other."""
        if self.data_type not in ("v", "e"):
            raise UsageError("-t", "must be v (video and text) or e (EDF and BDF)")
        if self.plain and self.encrypt:
            raise UsageError("--plain", "contradicts --encrypt", next="give one of them")
        if self.plain and self.data_type == "v" and not self.url.startswith("file://"):
            raise UsageError(
                "--plain",
                "video and its text go unencrypted only to a folder (file://)",
                safe="Nothing was sent",
                next="leave --plain out, or send to file:///…",
            )
        if self.jobs < 1:
            raise UsageError("--jobs", "must be at least 1")

    def completed(self, settings: Settings) -> UploadRequest:
        """Return the request with what config.toml says of this destination where the user said nothing."""
        known = next((d for d in settings.destination if one_url(d.url) == one_url(self.url)), None)
        if known is None:
            return self
        return replace(
            self,
            encrypt=self.encrypt or (known.encrypt and not self.plain),
            storage_class=self.storage_class or known.storage_class,
            sse=self.sse or known.sse,
            access=self.access or access_of(known),
        )

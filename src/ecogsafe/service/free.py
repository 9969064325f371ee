"""``free``: local files deleted, each only when the policy is met by evidence of this very moment (DESIGN 4, 5.10).

For a handful of files at a time: each is read once through one descriptor and compared with what was sent; every
copy is asked for at its store; what is about to be deleted is durable in the catalogue and the audit record; then
each file is looked at once more and its name removed. Whatever moment a run is killed at, the disk tells what is
still there, and the same command goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ecogsafe.catalog import audit, files, subjects
from ecogsafe.catalog.files import FileRow
from ecogsafe.core.errors import (
    EcogsafeError,
    ErrorText,
    ExitStatus,
    LockedError,
    SourceChangedError,
    SourceUnreadableError,
    UsageError,
    VerificationError,
)
from ecogsafe.core.events import ErrorEvent, Item
from ecogsafe.service.free_evidence import Proof, Witnesses, claims_of
from ecogsafe.service.free_keys import linking_key_is_elsewhere
from ecogsafe.service.free_local import LocalFile
from ecogsafe.service.free_note import Gone, Note
from ecogsafe.service.free_planning import Candidate, Outlook, outlook_of
from ecogsafe.service.outgoing import Outgoing, OutgoingFile, find_outgoing, marked_subjects
from ecogsafe.service.persons import Confirm
from ecogsafe.service.policy import enough
from ecogsafe.service.running import Run, raise_if_all_failed, unfinished_journal
from ecogsafe.transfer.meter import Meter

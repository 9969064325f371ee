"""Every failure a user can meet: its code, its exit status, what is safe and what to do next.

One class is one kind of failure. An instance names the *item* (never a private value: codes, keys
and paths below OUT only), the *problem*, what is *safe*, and the *next* command.
The exit statuses are a contract (DESIGN 4).
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitStatus(IntEnum):
    """What a command ends with; scripts rely on these numbers."""

    DONE = 0
    BUG = 1
    USAGE = 2
    PARTIAL = 3
    CONFLICT = 4
    STORE = 10
    LOCKED = 11
    KEY = 12
    IDENTIFIERS = 20
    NOT_UNDERSTOOD = 21
    SOURCE_CHANGED = 22
    VERIFY_FAILED = 30
    COLD = 31
    INTERRUPTED = 130


#: What stops a run decides, in the order in which it is judged (DESIGN 4).
STOPPING = (
    ExitStatus.USAGE,
    ExitStatus.CONFLICT,
    ExitStatus.LOCKED,
    ExitStatus.KEY,
    ExitStatus.IDENTIFIERS,
    ExitStatus.INTERRUPTED,
    ExitStatus.BUG,
    ExitStatus.STORE,
)
#: Otherwise the first of these that occurred.
FINDINGS = (
    ExitStatus.VERIFY_FAILED,
    ExitStatus.SOURCE_CHANGED,
    ExitStatus.NOT_UNDERSTOOD,
    ExitStatus.COLD,
    ExitStatus.PARTIAL,
    ExitStatus.DONE,
)


def worst(statuses: set[ExitStatus]) -> ExitStatus:
    """Return the exit status of a run in which every status of ``statuses`` occurred, the weightiest first."""
    return next((s for s in (*STOPPING, *FINDINGS) if s in statuses), ExitStatus.DONE)


class EcogsafeError(Exception):
    """A failure with a clear message; the base of all of ours.

    Parameters
    ----------
    item
        What it happened to: a subject code, an object key, a path below OUT, or a fixed word such as
        ``"EXPORT"``. Never a name, a source path or a secret.
    problem
        What is wrong, one clause, no full stop.
    safe
        What is certainly unharmed.
    next
        The next thing to do, as a command where there is one.
    """

    code: ClassVar[str] = "error"
    exit_status: ClassVar[ExitStatus] = ExitStatus.BUG

    def __init__(self, item: str, problem: str, *, safe: str = "Nothing was changed", next: str = "") -> None:
        super().__init__(item, problem)
        self.item = item
        self.problem = problem
        self.safe = safe
        self.next = next

    def __str__(self) -> str:
        text = f"{self.item}: {self.problem}. {self.safe}."
        return f"{text} Next: {self.next}" if self.next else text


class UsageError(EcogsafeError):
    """The command cannot be carried out as it was typed."""

    code = "usage"
    exit_status = ExitStatus.USAGE


class ConfigError(UsageError):
    """config.toml has an unknown key or a value that does not fit."""

    code = "config"


class NotInitialisedError(UsageError):
    """There is no home yet."""

    code = "not-initialised"


class MixedPatientsError(UsageError):
    """The identifiers fit more than one person in EXPORT."""

    code = "mixed-patients"


class ConfirmationNeededError(UsageError):
    """The command asks, and there is nobody to ask."""

    code = "confirmation-needed"


class PlanConflictError(EcogsafeError):
    """The plan has conflicts; nothing was changed."""

    code = "plan-conflict"
    exit_status = ExitStatus.CONFLICT


class StoreError(EcogsafeError):
    """A store could not be reached or refused; ``retry`` says whether trying again can help.

    ``ends_store``: nothing else that is asked of it in this run could go well.
    """

    code = "store"
    exit_status = ExitStatus.STORE
    retry: ClassVar[bool] = False
    ends_store: ClassVar[bool] = False


class StoreUnreachableError(StoreError):
    """No answer, a broken connection, or a 5xx: trying again can help."""

    code = "store-unreachable"
    retry = True


class StoreBusyError(StoreUnreachableError):
    """The store asks for fewer requests (SlowDown, 503, 429): trying again later can help."""

    code = "store-busy"


class StoreRefusedError(StoreError):
    """The store answered no: credentials, permissions, no such bucket."""

    code = "store-refused"


class StoreForbiddenError(StoreRefusedError):
    """The store knows who asks, and does not allow it (403, read-only): the next object fares no better."""

    code = "store-forbidden"


class StoreCredentialsError(StoreRefusedError):
    """The credentials for a store are missing, wrong or expired, and no others could be had."""

    code = "store-credentials"
    ends_store = True


class StoreFullError(StoreError):
    """No space left where the bytes should go."""

    code = "store-full"


class WrongStoreError(StoreError):
    """The store's id is missing or another one's: perhaps a mount that vanished."""

    code = "wrong-store"


class ObjectExistsError(StoreError):
    """A conditional write found an object under that key."""

    code = "object-exists"


class ObjectMissingError(StoreError):
    """There is no object under that key."""

    code = "object-missing"


class UploadGoneError(StoreError):
    """The store no longer knows that multipart upload (404 NoSuchUpload)."""

    code = "upload-gone"


class ChecksumRefusedError(StoreError):
    """The store computed another checksum than ours for the bytes it received."""

    code = "checksum-refused"
    retry = True


class LockedError(EcogsafeError):
    """Another run holds what this one needs."""

    code = "locked"
    exit_status = ExitStatus.LOCKED


class LabKeyError(EcogsafeError):
    """A key is missing, wrong, or the password is wrong."""

    code = "key"
    exit_status = ExitStatus.KEY


class WrongPasswordError(LabKeyError):
    """The password does not open the lab key."""

    code = "wrong-password"


class RecipientsChangedError(LabKeyError):
    """recipients.txt is not the one the catalogue knows."""

    code = "recipients-changed"


class NotClearedError(EcogsafeError):
    """A file carries an identifier, or nobody searched it; nothing was sent."""

    code = "not-cleared"
    exit_status = ExitStatus.IDENTIFIERS


class MalformedFileError(EcogsafeError):
    """A file is not what its kind should be."""

    code = "malformed-file"
    exit_status = ExitStatus.NOT_UNDERSTOOD


class SourceChangedError(EcogsafeError):
    """A source moved, grew or changed while it was read."""

    code = "source-changed"
    exit_status = ExitStatus.SOURCE_CHANGED


class SourceUnreadableError(EcogsafeError):
    """A source could not be opened or read."""

    code = "source-unreadable"
    exit_status = ExitStatus.PARTIAL


class NoSpaceError(EcogsafeError):
    """The local disk has too little room."""

    code = "no-space"
    exit_status = ExitStatus.PARTIAL


class NotNotifiedError(EcogsafeError):
    """People could not be told how a run ended; the run itself is not worse for it."""

    code = "not-notified"
    exit_status = ExitStatus.PARTIAL


class VerificationError(EcogsafeError):
    """Bytes are not what their digest says."""

    code = "verification-failed"
    exit_status = ExitStatus.VERIFY_FAILED


class ObjectReplacedError(VerificationError):
    """While an object was read, another one took its place."""

    code = "object-replaced"


class StillColdError(EcogsafeError):
    """The object must be thawed before it can be read."""

    code = "still-cold"
    exit_status = ExitStatus.COLD


class InterruptedRunError(EcogsafeError):
    """Ctrl-C; run the same command again to continue."""

    code = "interrupted"
    exit_status = ExitStatus.INTERRUPTED


class DamagedCatalogueError(EcogsafeError):
    """The catalogue cannot be opened or fails its integrity check."""

    code = "damaged-catalogue"
    exit_status = ExitStatus.BUG

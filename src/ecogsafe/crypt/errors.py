"""What can be wrong with sealed data, by kind; the kinds are those of the public age test vectors.

A caller that knows the object replaces `item` (a fixed word here) by its key before it shows the error.
"""

from __future__ import annotations

from typing import Final

from ecogsafe.core.errors import LabKeyError, VerificationError

#: the `item` of an error raised where the name of the object is not known
SEALED_DATA: Final = "sealed data"


class HeaderError(VerificationError):
    """The age header is malformed, cut, too long, of another version, or asks for unreasonable work."""

    code = "age-header"


class HmacError(VerificationError):
    """A key opens the header, but the header's MAC does not fit: it was changed."""

    code = "age-header-mac"


class PayloadError(VerificationError):
    """A chunk is not what was sealed, or the data end too early or too late."""

    code = "age-payload"


class ArmorError(VerificationError):
    """The text form (``-----BEGIN AGE ENCRYPTED FILE-----``) is malformed."""

    code = "age-armor"


class NoMatchError(LabKeyError):
    """The data are sealed to other keys than those given."""

    code = "no-matching-key"

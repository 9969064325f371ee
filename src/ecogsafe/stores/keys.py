"""Which texts are object keys, and which keys are ours alone."""

from __future__ import annotations

import re
import unicodedata

from ecogsafe.core.errors import StoreRefusedError
from ecogsafe.stores.protocol import OWN_PREFIX

#: S3 counts the UTF-8 bytes of a whole key, https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
MAX_KEY_BYTES = 1024
#: NAME_MAX of every file system in use, in bytes
MAX_COMPONENT_BYTES = 255
#: names beginning so are unfinished files of a folder store, never objects
TEMPORARY_PREFIX = ".ecogsafe-"
#: keys with which nothing can be wrong but their length, and as such nearly all of ours
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,254})*")


def key_problem(key: str, *, prefix: str = "") -> str | None:
    """Return why ``key`` below ``prefix`` cannot be a key, None where it can.

    A key must mean the same file in a folder and the same object in a bucket: no empty, ``.`` or ``..``
    component, no control character, nothing that is not text, and lengths that every store takes.
    """
    if _PLAIN.fullmatch(key) and prefix.isascii() and len(prefix) + len(key) <= MAX_KEY_BYTES:
        return None
    try:
        size = len((prefix + key).encode("utf-8"))
        longest = max(len(component.encode("utf-8")) for component in key.split("/"))
    except UnicodeEncodeError:
        return "a key must be valid text"
    if size > MAX_KEY_BYTES:
        return f"a key has at most {MAX_KEY_BYTES} bytes"
    if longest > MAX_COMPONENT_BYTES:
        return f"a name in a key has at most {MAX_COMPONENT_BYTES} bytes"
    # the second test takes some time for each letter
    if not key.isprintable() and any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in key):
        return "a key has no control characters"
    for component in key.split("/"):
        if component in ("", ".", ".."):
            return 'a key has no empty, "." or ".." component and does not begin or end with "/"'
        if component.startswith(TEMPORARY_PREFIX):
            return f"names beginning with {TEMPORARY_PREFIX} are kept for unfinished files"
    return None


def check_key(key: str, *, store: str, prefix: str = "") -> None:
    """Refuse what is not a key.

    Parameters
    ----------
    store
        The store's URL, for the message; the key itself is not repeated, it may hold anything.

    Raises
    ------
    StoreRefusedError
        ``key`` is not a key.
    """
    problem = key_problem(key, prefix=prefix)
    if problem is not None:
        raise StoreRefusedError(store, problem, safe="Nothing was sent", next="rename the file and run again")


def is_listed(key: str, prefix: str) -> bool:
    """Whether `Store.list` with ``prefix`` shows ``key``: our own only to a prefix that asks for them."""
    if not key.startswith(prefix):
        return False
    return prefix.startswith(OWN_PREFIX) or not key.startswith(OWN_PREFIX)

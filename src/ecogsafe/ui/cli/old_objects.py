"""What ``-f FILE`` of the old download script means today."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CODE = re.compile(r"[a-f][0-9a-f]{7}")
_LOCKED = ".enc"


@dataclass(frozen=True, slots=True)
class Wish:
    """What to bring back."""

    globs: tuple[str, ...]
    #: a file of the old scripts, which the old password opens
    is_locked: bool = False


def wished(file: str, kind: str) -> Wish:
    """Return the patterns of ``download -f`` for ``file`` and the kind of data, ``v`` or ``e``.

    A subject's code means the whole subject, a folder all below it, and a name that ends in ``.enc`` an old
    copy, which may be there under today's name too.
    """
    name = file.strip("/")
    if _CODE.fullmatch(name):
        ends = ("_edf/*",) if kind == "e" else ("/*", "_vtc/*", "_snc/*")
        return Wish(tuple(f"{name}{end}" for end in ends))
    if name.endswith(_LOCKED):
        return Wish((name, name.removesuffix(_LOCKED)), is_locked=True)
    if file.endswith("/"):
        return Wish((f"{name}/*",))
    return Wish((name, f"{name}/*"))

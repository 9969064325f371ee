"""What the key of an object says: whose it is, which file it becomes, and whether its name is ours to print."""

from __future__ import annotations

from dataclasses import dataclass

from ecogsafe.catalog.files import Tree as AnyTree
from ecogsafe.deid.layout import Tree, parse_target
from ecogsafe.service.presence import base_of, path_of_key
from ecogsafe.transfer.archive.volumes import parse_volume_key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyParts:
    """A key of DESIGN 3's form; such a key holds codes and numbers, nothing private."""

    tree: AnyTree
    #: below the tree
    path: str
    subject: str
    #: None for a volume of an archive, or its index
    segment: int | None
    sealed: bool
    #: n of ``<name>~n.<ext>``, else 1
    version: int

    @property
    def upload_type(self) -> str | None:
        """What `upload -t` sends it; None for what `archive` sends."""
        return {"edf": "e", "archive": None}.get(self.tree, "v")


def parse_key(key: str) -> KeyParts | None:
    """Return what ``key`` says; None for one that is not of our form, which may be anybody's name."""
    volume = parse_volume_key(key)
    if volume is not None:
        path = key.removesuffix(".age")
        return KeyParts(tree="archive", path=path, subject=volume.subject, segment=None, sealed=True, version=1)
    path, sealed = path_of_key(key)
    parts = next((p for tree in Tree if (p := parse_target(tree, path))), None)
    if parts is None:
        return None
    return KeyParts(
        tree=parts.tree.value,
        path=path,
        subject=parts.code,
        segment=parts.number,
        sealed=sealed,
        version=base_of(key)[1],
    )

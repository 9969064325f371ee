"""The SHA-256 tree hash of Amazon Glacier's vaults: how an archive, or an aligned range of one, is proven.

The leaves are the SHA-256 of each MiB. Two neighbours are hashed together; one without a neighbour goes up a level
as it is. So the digest of a range that covers a whole branch of the tree is a node of the tree of the archive.

References
----------
Amazon Glacier Developer Guide (API 2012-06-01), "Computing Checksums" and "Receiving Checksums When Downloading Data".
"""

from __future__ import annotations

import hashlib

#: bytes under one leaf; the last may be shorter
LEAF_BYTES = 1 << 20


class TreeHash:
    """The tree hash of bytes that come in order, in pieces of any size; memory grows with the height only."""

    def __init__(self) -> None:
        self._leaf = hashlib.sha256()
        self._leaf_bytes = 0
        self._fed = 0
        #: digests of whole branches from left to right, each with the number of its leaves: falling powers of two
        self._branches: list[tuple[int, bytes]] = []

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._fed

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes."""
        view = memoryview(data)
        self._fed += len(view)
        while view:
            piece = view[: LEAF_BYTES - self._leaf_bytes]
            self._leaf.update(piece)
            self._leaf_bytes += len(piece)
            view = view[len(piece) :]
            if self._leaf_bytes == LEAF_BYTES:
                self._grow(self._leaf.digest())
                self._leaf, self._leaf_bytes = hashlib.sha256(), 0

    def _grow(self, leaf: bytes) -> None:
        leaves, digest = 1, leaf
        while self._branches and self._branches[-1][0] == leaves:
            _, left = self._branches.pop()
            leaves, digest = 2 * leaves, _joined(left, digest)
        self._branches.append((leaves, digest))

    def digest(self) -> bytes:
        """Return the hash of what came so far; more may come after."""
        digests = [digest for _, digest in self._branches]
        if self._leaf_bytes or not digests:
            digests.append(self._leaf.digest())
        root = digests.pop()
        while digests:
            root = _joined(digests.pop(), root)
        return root

    def hexdigest(self) -> str:
        """Return `digest` as the store writes it."""
        return self.digest().hex()


def _joined(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(left + right).digest()


def tree_hash(data: bytes | bytearray | memoryview) -> str:
    """Return the tree hash of ``data``, hexadecimal."""
    whole = TreeHash()
    whole.update(data)
    return whole.hexdigest()


def is_tree_aligned(start: int, stop: int, size: int) -> bool:
    """Return whether the bytes ``[start, stop)`` of an archive of ``size`` bytes are a whole branch of its tree.

    Only then does the store tell a tree hash for them.
    """
    if not 0 <= start < stop <= size or start % LEAF_BYTES or (stop % LEAF_BYTES and stop != size):
        return False
    first, leaves = start // LEAF_BYTES, -(-(stop - start) // LEAF_BYTES)
    full = 1 << (leaves - 1).bit_length()
    return first % full == 0 and (leaves == full or stop == size)

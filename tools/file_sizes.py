"""The file-size gate: a source file over 400 lines is probably two rooms."""

from __future__ import annotations

import sys
from pathlib import Path

LIMIT = 400


def main() -> int:
    """Print every source file over the limit; 1 if there is one."""
    root = Path(__file__).resolve().parents[1]
    long = [
        (path.relative_to(root), lines)
        for path in sorted((root / "src").rglob("*.py"))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LIMIT
    ]
    for path, lines in long:
        print(f"{path}: {lines} lines, limit {LIMIT}")
    return 1 if long else 0


if __name__ == "__main__":
    sys.exit(main())

"""Writes docs/errors.md from the error classes of the package: ``python tools/error_table.py [--check]``."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import ecogsafe
from ecogsafe.core.errors import FINDINGS, STOPPING, EcogsafeError, ExitStatus, StoreError

TARGET = Path(__file__).resolve().parents[1] / "docs" / "errors.md"
COMMAND = "python tools/error_table.py"

#: what a command ends with, in the words of a user; a test asks for one for every status
MEANINGS = {
    ExitStatus.DONE: "Done. Kinds of file that are left behind by rule do not change it.",
    ExitStatus.BUG: "A bug in ecogsafe, or a catalogue that is damaged. Report the line that begins with `error[`.",
    ExitStatus.USAGE: "The command cannot be carried out as it was typed or configured. Nothing was changed.",
    ExitStatus.PARTIAL: "Done, but some items were skipped or failed. They are listed.",
    ExitStatus.CONFLICT: "The plan has conflicts. Nothing was changed.",
    ExitStatus.STORE: "The store could not be reached, or it refused.",
    ExitStatus.LOCKED: "Another run holds what this one needs, or a de-identification is unfinished.",
    ExitStatus.KEY: "A key is missing or wrong, or the password is wrong.",
    ExitStatus.IDENTIFIERS: "Identifiers were found, or a file is not cleared. Nothing was sent.",
    ExitStatus.NOT_UNDERSTOOD: "Files that should have been understood were not. They were left alone.",
    ExitStatus.SOURCE_CHANGED: "A source changed while it was read.",
    ExitStatus.VERIFY_FAILED: "Verification failed: a copy is missing, short, swapped or changed.",
    ExitStatus.COLD: "The object is still in cold storage. No command of this version thaws objects.",
    ExitStatus.INTERRUPTED: "Interrupted. Run the same command again to continue.",
}

#: codes that no class of their own carries: (status, code, meaning)
WITHOUT_CLASS = (
    (ExitStatus.BUG, "bug", "An exception that nobody foresaw: its kind and our line, never its text."),
    (ExitStatus.BUG, "error", "The catalogue refused something that should never have been asked of it."),
)


def load_all() -> None:
    """Import every module of the package, so that every class is known."""
    for module in pkgutil.walk_packages(ecogsafe.__path__, "ecogsafe."):
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            importlib.import_module(module.name)


def error_classes() -> list[type[EcogsafeError]]:
    """Return every error class of the package that has a code of its own, by exit status and code."""
    load_all()
    own = {cls for cls in _below(EcogsafeError) if cls.__module__.startswith("ecogsafe.") and "code" in vars(cls)}
    return sorted(own, key=lambda cls: (cls.exit_status, cls.code, cls.__module__))


def _below(cls: type[EcogsafeError]) -> Iterator[type[EcogsafeError]]:
    for child in cls.__subclasses__():
        yield child
        yield from _below(child)


def doubled(codes: Iterable[str]) -> list[str]:
    """Return the codes that occur twice."""
    seen: set[str] = set()
    return sorted({code for code in codes if code in seen or seen.add(code)})  # type: ignore[func-returns-value]


def meaning_of(cls: type[EcogsafeError]) -> str:
    """Return the first paragraph of the docstring of ``cls``, on one line."""
    return " ".join(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].split()).replace("``", "`")


def render() -> str:
    """Return the whole page."""
    lines = [
        "# Errors and exit statuses",
        "",
        f"Generated from the code by `{COMMAND}`. Do not edit it by hand; a test fails when it is stale.",
        "",
        "Every failure is told in three parts: what happened to which item, what is safe, what to do next.",
        "",
        "```",
        "error[CODE]: ITEM: PROBLEM.",
        "  safe: WHAT IS UNHARMED.",
        "  next: WHAT TO DO",
        "```",
        "",
        "With `--json` the same is one line: `message_type` is `error`, with the fields `code`, `exit_status`, `item`,",
        "`message`, `safe` and `next`. The code is stable: a script may rely on it. The text is not.",
        "No message repeats a name, a record number or a source path. What must be shown is masked: `D••• J•••`.",
        "",
        "## Exit statuses",
        "",
        "| status | meaning |",
        "|---:|---|",
        *(f"| {int(status)} | {MEANINGS[status]} |" for status in ExitStatus),
        "",
        "Where several occurred in one run, it ends with the first of these: "
        + ", ".join(str(int(s)) for s in (*STOPPING, *FINDINGS))
        + ".",
        "The first eight stop a run. The others are told for each item, and the run goes on.",
        "",
        "## Codes",
        "",
        "*Again* says whether the tool tries by itself again before it gives up.",
        "",
        "| code | status | again | meaning |",
        "|---|---:|:---:|---|",
    ]
    rows = [
        (cls.exit_status, cls.code, issubclass(cls, StoreError) and cls.retry, meaning_of(cls))
        for cls in error_classes()
    ]
    rows += [(status, code, False, meaning) for status, code, meaning in WITHOUT_CLASS]
    for status, code, again, meaning in sorted(rows):
        lines.append(f"| `{code}` | {int(status)} | {'yes' if again else ''} | {meaning} |")
    return "\n".join([*lines, ""])


def main(arguments: list[str]) -> int:
    """Write the page; with ``--check`` only say whether it is stale (1)."""
    text = render()
    if arguments == ["--check"]:
        stale = not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text
        if stale:
            print(f"docs/{TARGET.name} is stale: {COMMAND}")
        return int(stale)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Searches and the clearances that follow: given, bound to the text, and taken back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecogsafe.catalog import audit, clearances
from ecogsafe.catalog.clearances import ClearanceRow
from ecogsafe.core.errors import EcogsafeError, ExitStatus
from ecogsafe.core.events import Finding
from ecogsafe.service.scanning import ScanTarget, targets_in
from tests.service.small_lab import CODES, NAME, Ended, SmallLab

CODE = CODES[0]
EDF = f"{CODE}_edf/{CODE}_1.edf"


def cleared(small: SmallLab) -> dict[tuple[str, str], ClearanceRow]:
    with small.reading() as tx:
        return clearances.clearances_of(tx, CODE)


def findings(ended: Ended) -> list[Finding]:
    return [e for e in ended.events if isinstance(e, Finding)]


def test_clean_files_are_cleared(small_lab: SmallLab) -> None:
    small_lab.two_subjects()
    assert small_lab.clear(CODE).status is ExitStatus.DONE
    rows = cleared(small_lab)
    assert len(rows) == 4
    row = rows[("edf", EDF)]
    assert (row.revision, row.size) == (1, (small_lab.out / "edf" / EDF).stat().st_size)


def test_a_finding_ends_20_and_clears_nothing_of_that_file(small_lab: SmallLab) -> None:
    small_lab.edf(text=NAME)
    small_lab.edf(number=2)
    ended = small_lab.clear(CODE)
    assert ended.status is ExitStatus.IDENTIFIERS
    assert len(findings(ended)) == 1
    assert [path for _, path in cleared(small_lab)] == [f"{CODE}_edf/{CODE}_2.edf"]
    assert NAME not in repr(ended.events)


def test_a_later_finding_takes_the_clearance_back(small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another subject's name became known, or the file changed: an old clearance must not speak for it."""
    small_lab.edf(text="Zolt")
    small_lab.edf(number=2)
    small_lab.clear(CODE)
    assert len(cleared(small_lab)) == 2
    monkeypatch.setattr("tests.service.small_lab.NAME", "Zolt")
    assert small_lab.clear(CODE).status is ExitStatus.IDENTIFIERS
    assert [path for _, path in cleared(small_lab)] == [f"{CODE}_edf/{CODE}_2.edf"]
    assert small_lab.upload("e").status is ExitStatus.IDENTIFIERS


def test_a_file_that_cannot_be_read_loses_its_clearance(small_lab: SmallLab) -> None:
    path = small_lab.edf()
    small_lab.edf(number=2)
    small_lab.clear(CODE)
    path.write_bytes(b"not EDF any more")
    assert small_lab.clear(CODE).status is ExitStatus.NOT_UNDERSTOOD
    assert len(cleared(small_lab)) == 1


def test_what_a_person_accepted(small_lab: SmallLab) -> None:
    small_lab.edf(text=NAME)
    small_lab.edf(number=2)
    (found,) = findings(small_lab.clear(CODE))
    ended = small_lab.clear(CODE, accepted=(found.id,))
    assert ended.status is ExitStatus.DONE
    assert cleared(small_lab)[("edf", EDF)].accepted == (found.id,)
    with small_lab.reading() as tx:
        assert [row.result for row in audit.recent(tx, object=f"edf/{EDF}")] == [found.id]
    assert small_lab.upload("e").status is ExitStatus.DONE
    # it stays accepted while the text is the same, for further identifiers too
    assert small_lab.clear(CODE, revision=2).status is ExitStatus.DONE
    assert cleared(small_lab)[("edf", EDF)].revision == 2
    with small_lab.reading() as tx:
        assert len(audit.recent(tx, object=f"edf/{EDF}")) == 1
    # and no longer
    small_lab.edf(text=f"{NAME} again")
    assert small_lab.clear(CODE, revision=2).status is ExitStatus.IDENTIFIERS
    assert len(cleared(small_lab)) == 1


def test_mp4_is_told_and_never_cleared(small_lab: SmallLab) -> None:
    small_lab.avi()
    small_lab.write(f"video/{CODE}/{CODE}_1/{CODE}_1_0002.mp4", b"\0\0\0\x18ftypmp42" + bytes(50))
    ended = small_lab.clear(CODE)
    assert ended.status is ExitStatus.DONE
    assert "only ever sent sealed" in ended.items(status="note")[0].message
    assert len(cleared(small_lab)) == 1


# paths


def found(*paths: Path) -> tuple[list[ScanTarget], list[EcogsafeError]]:
    all_of_them = list(targets_in(paths))
    return (
        [t for t in all_of_them if isinstance(t, ScanTarget)],
        [t for t in all_of_them if isinstance(t, EcogsafeError)],
    )


@pytest.mark.parametrize("below", ["", "edf", f"edf/{CODE}_edf", f"edf/{EDF}"])
@pytest.mark.parametrize("how", ["real", "link", "relative", "dots"])
def test_files_below_out_are_known_however_they_are_named(
    small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch, below: str, how: str
) -> None:
    small_lab.edf()
    path = small_lab.out / below
    if how == "link":
        (small_lab.folder / "a link").symlink_to(path)
        path = small_lab.folder / "a link"
    elif how == "relative":
        monkeypatch.chdir(path.parent)
        path = Path(path.name)
    elif how == "dots":
        monkeypatch.chdir(small_lab.home.root)
        path = Path("../out") / below
    (target,), _ = found(path)
    assert (target.tree, target.relpath) == ("edf", EDF)


def test_foreign_files_are_searched_and_masked(small_lab: SmallLab) -> None:
    small_lab.write("edf/Quillfeather_1.edf", b"x")
    with open(os.fsencode(small_lab.out) + b"/Odalys\xff.txt", "wb") as file:
        file.write(b"x")
    targets, _ = found(small_lab.out)
    assert len(targets) == 2
    assert all(t.tree is None for t in targets)
    assert not any("Quillfeather" in t.shown or "Odalys" in t.shown for t in targets)
    for target in targets:
        target.shown.encode("utf-8")


def test_links_inside_are_not_followed(small_lab: SmallLab) -> None:
    small_lab.edf()
    (small_lab.out / "edf" / f"{CODE}_edf" / "up").symlink_to(small_lab.out)
    os.mkfifo(small_lab.out / "edf" / "pipe.edf")
    targets, errors = found(small_lab.out)
    assert (len(targets), errors) == (1, [])


def test_a_folder_that_cannot_be_entered(small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    small_lab.edf()
    small_lab.avi()
    real = Path.iterdir

    def iterdir(self: Path) -> object:
        if self.name == "video":
            raise PermissionError(13, "Permission denied")
        return real(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    targets, errors = found(small_lab.out)
    assert len(targets) == 1
    assert len(errors) == 1

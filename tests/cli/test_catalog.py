"""`catalog backup` and `catalog rebuild`: nothing known is thrown away, whatever stands in the store or in the way."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.catalog import replacing
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.keys import parse_recipients
from ecogsafe.crypt.lab_key import open_lab_key
from ecogsafe.service.home import Home
from ecogsafe.service.running import running
from tests.cli.lab import PASSWORD, Lab, Result


class Power(BaseException):
    """The machine goes off."""


@pytest.fixture
def sent(applied: Lab) -> Lab:
    """A lab that has sent to a folder; its sheet is printed."""
    (applied.folder / "store").mkdir()
    applied.here("upload", "-d", applied.out, "--to", url(applied), "-t", "e")
    shutil.copy(applied.home / "recovery-sheet.txt", applied.folder / "sheet.txt")
    return applied


def url(lab: Lab) -> str:
    return (lab.folder / "store").as_uri()


def snapshots(lab: Lab) -> list[Path]:
    """Return the snapshots, the oldest first; their names tell seconds only."""
    found = (lab.folder / "store" / "_ecogsafe" / "catalog").iterdir()
    return sorted(found, key=lambda path: (path.name[:16], path.stat().st_mtime_ns))


def lose_home(lab: Lab) -> None:
    lab.home.rename(lab.folder / f"lost-{len(list(lab.folder.iterdir()))}")
    lab.here("init", "--recover", lab.folder / "sheet.txt")


def rebuild(lab: Lab, *more: str, status: int = 0) -> Result:
    return lab.here("--json", "catalog", "rebuild", "--from", url(lab), *more, status=status)


def known(lab: Lab) -> tuple[int, int]:
    """Return how many files and copies the catalogue knows."""
    with Catalog.open(lab.home / "catalog.sqlite") as catalog, catalog.read() as tx:
        return replacing.numbers(tx)


def kept(lab: Lab) -> list[Path]:
    return sorted(lab.home.glob("catalog.sqlite.before-rebuild-*"))


def damage(lab: Lab) -> None:
    path = lab.home / "catalog.sqlite"
    data = bytearray(path.read_bytes())
    data[:4096] = b"\0" * 4096
    path.write_bytes(data)


def test_a_damaged_catalogue_names_the_way_back_and_is_kept(sent: Lab) -> None:
    before = known(sent)
    damage(sent)
    assert "ecogsafe catalog rebuild --from URL" in sent.here("status", status=1).err
    broken = (sent.home / "catalog.sqlite").read_bytes()
    done = rebuild(sent)
    assert known(sent) == before
    assert [p.read_bytes() for p in kept(sent)] == [broken]
    assert done.of("item", action="catalogue", status="done")
    assert "all" in done.summary["message"] and done.summary["command"] == "catalog rebuild"


def test_a_catalogue_that_is_gone(sent: Lab) -> None:
    before = known(sent)
    (sent.home / "catalog.sqlite").unlink()
    # of the lost one: the log of another database must never be read with the new one
    (sent.home / "catalog.sqlite-wal").write_bytes(b"not of this catalogue")
    rebuild(sent)
    assert known(sent) == before
    assert [p.name[-4:] for p in kept(sent)] == ["-wal"]


def test_one_that_holds_work_is_never_replaced(sent: Lab) -> None:
    before = known(sent)
    refused = rebuild(sent, status=2).error
    assert "holds work" in refused["message"] and "inventory" in refused["next"]
    assert known(sent) == before and not kept(sent)


def test_one_that_another_command_works_with_is_not_replaced(sent: Lab) -> None:
    lose_home(sent)
    with running(Home(sent.home), "upload", lambda event: None):
        assert rebuild(sent, status=11).error["code"] == "locked"
    rebuild(sent)


def test_the_newest_that_opens(sent: Lab) -> None:
    """A damaged newest one is told (3), an older one taken; what it does not know shows as unknown, and is adopted."""
    code = sent.codes["a"]
    extra = sent.out / "video" / code
    sent.here("upload", "-d", extra, "--to", url(sent), "-t", "v")
    newest = snapshots(sent)[-1]
    newest.chmod(0o600)
    newest.write_bytes(newest.read_bytes()[:-100])
    lose_home(sent)
    done = rebuild(sent, status=3)
    (spoiled,) = done.of("item", action="snapshot", status="failed")
    assert spoiled["key"].endswith(newest.name)
    unknown = done.summary["counts"]["unknown"]
    assert unknown >= 2 and "--adopt" in done.summary["message"]
    adopted = sent.here("--json", "inventory", url(sent), "--adopt")
    assert adopted.summary["counts"]["adopted"] == unknown
    sent.here("verify", "--deep", "--store", url(sent))
    # a subject's lost files are known for what they are
    again = sent.here("--json", "upload", "-d", extra, "--to", url(sent), "-t", "v")
    assert again.summary["files"]["done"] == 0


def test_no_snapshot_that_can_be_used(sent: Lab) -> None:
    lose_home(sent)
    before = sorted(p.name for p in sent.home.iterdir())
    for path in snapshots(sent):
        path.chmod(0o600)
        path.write_bytes(b"age-encryption.org/v1\n")
    assert "none of its" in rebuild(sent, status=30).error["message"]
    assert sorted(p.name for p in sent.home.iterdir()) == before
    shutil.rmtree(sent.folder / "store" / "_ecogsafe" / "catalog")
    assert "holds no snapshot" in rebuild(sent, status=2).error["message"]


def put_snapshot(lab: Lab, name: str, make: Callable[[Path], object]) -> None:
    """Put a file that is sealed to the lab's keys where a snapshot would stand, as anybody who may write there can."""
    path = lab.folder / "made.sqlite"
    make(path)
    recipients = parse_recipients((lab.home / "recipients.txt").read_text())
    place = lab.folder / "store" / "_ecogsafe" / "catalog" / f"{name}.sqlite.age"
    place.write_bytes(seal(path.read_bytes(), recipients))


def test_what_is_sealed_rightly_and_no_catalogue(sent: Lab) -> None:
    put_snapshot(sent, "29990101T000000Z-00000000", lambda path: path.write_bytes(b"no database" * 1000))
    lose_home(sent)
    done = rebuild(sent, status=3)
    (spoiled,) = done.of("item", action="snapshot", status="failed")
    assert "29990101T000000Z" in spoiled["key"]


def test_a_home_that_sent_before_its_catalogue_was_back(sent: Lab) -> None:
    """Its snapshot is the newest and knows next to nothing: taken silently, it would bury all of the earlier one."""
    before = known(sent)
    earlier = snapshots(sent)[-1].name
    with Catalog.open(sent.home / "catalog.sqlite") as catalog, catalog.write() as tx:
        tx.exec_driver_sql("UPDATE meta SET value = '2020-01-01T00:00:00.000000Z' WHERE name = 'created_at'")
    put_snapshot(sent, "29990101T000000Z-00000000", lambda path: new_catalogue(sent, path))
    lose_home(sent)
    files = sorted(p.name for p in sent.home.iterdir())
    refused = rebuild(sent, status=2).error
    assert f"--snapshot {earlier}" in refused["next"] and "29990101T000000Z" in refused["next"]
    assert sorted(p.name for p in sent.home.iterdir()) == files
    rebuild(sent, "--snapshot", earlier)
    assert known(sent) == before
    lose_home(sent)
    assert "no snapshot of that name" in rebuild(sent, "--snapshot", "other", status=2).error["message"]


def new_catalogue(lab: Lab, path: Path) -> None:
    with Catalog.open(path, create=True) as catalog, catalog.write() as tx:
        tx.exec_driver_sql("UPDATE meta SET value = '2998-01-01T00:00:00.000000Z' WHERE name = 'created_at'")


def test_recipients_that_the_snapshot_does_not_know(sent: Lab) -> None:
    """With the catalogue somebody could swap the keys too: a lost catalogue must not make a stranger's key count."""
    (sent.home / "catalog.sqlite").unlink()
    with (sent.home / "recipients.txt").open("a") as lines:
        lines.write("# of a stranger\n")
    assert rebuild(sent, status=12).error["code"] == "recipients-changed"
    assert not (sent.home / "catalog.sqlite").exists()


def test_the_password_is_asked_and_must_be_right(sent: Lab) -> None:
    lose_home(sent)
    sent.write_password("not these words")
    rebuild(sent, status=12)


@pytest.mark.parametrize("step", range(8))
def test_killed_at_every_step(sent: Lab, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = known(sent)
    damage(sent)
    for end in ("-wal", "-shm"):
        (sent.home / f"catalog.sqlite{end}").write_bytes(b"of the damaged one")
    left = step

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Power
            return real(*arguments)

        return call

    with monkeypatch.context() as patched:
        for name in ("rename_noreplace", "fsync_directory"):
            patched.setattr(replacing, name, dying(getattr(replacing, name)))
        with contextlib.suppress(Power):
            sent.here("catalog", "rebuild", "--from", url(sent))
    if not (sent.home / "catalog.sqlite").exists() or known_or_none(sent) is None:
        rebuild(sent)
    assert known(sent) == before
    assert sent.here("--json", "inventory", url(sent)).summary["exit_status"] == 0


def known_or_none(lab: Lab) -> tuple[int, int] | None:
    try:
        return known(lab)
    except Exception:
        return None


def test_backup_names_the_snapshots_that_could_go_and_leaves_them(sent: Lab) -> None:
    """Forty of one month: the first of it stays by the rule, and the last thirty of all."""
    folder = snapshots(sent)[0].parent
    old = [folder / f"20250301T0000{n:02}Z-0a0b0c0d.sqlite.age" for n in range(40)]
    for path in old:
        path.write_bytes(b"a snapshot")
    done = sent.here("--json", "catalog", "backup")
    (told,) = [i for i in done.of("item", action="own") if i["details"]["snapshots"] > 40]
    newer = told["details"]["snapshots"] - 40
    spare = [f"_ecogsafe/catalog/{path.name}" for path in old[1 : 40 - (30 - newer)]]
    assert told["details"]["spare"] == spare
    assert all(path.exists() for path in old), "a snapshot was removed from a store"


def test_what_a_killed_rebuild_left_is_swept(sent: Lab) -> None:
    lose_home(sent)
    (sent.home / ".rebuild-0a.sqlite").write_bytes(b"half")
    rebuild(sent)
    assert not list(sent.home.glob(".rebuild-*"))


def test_backup_reaches_every_place_and_replaces_nothing(sent: Lab) -> None:
    (sent.folder / "second").mkdir()
    second = (sent.folder / "second").as_uri()
    sent.configure(
        "".join(
            f'[[destination]]\nname = "{n}"\nurl = "{u}"\ntypes = ["e"]\n\n'
            for n, u in (("one", url(sent)), ("two", second))
        )
    )
    before = {p: p.read_bytes() for p in snapshots(sent)}
    done = sent.here("--json", "catalog", "backup")
    assert done.summary["message"] == "a sealed snapshot of the catalogue stands in 2 of 2 places"
    assert len(snapshots(sent)) == len(before) + 1 and {p: p.read_bytes() for p in before} == before
    assert [i["details"]["snapshots"] for i in done.of("item", action="own")] == [len(before) + 1, 1]
    # from a place that has nothing but the snapshot the catalogue comes back too
    count = known(sent)
    lose_home(sent)
    sent.here("catalog", "rebuild", "--from", second)
    assert known(sent) == count


def test_backup_where_a_place_is_away(sent: Lab) -> None:
    away = (sent.folder / "away").as_uri()
    sent.configure(
        "".join(
            f'[[destination]]\nname = "{n}"\nurl = "{u}"\ntypes = ["e"]\n\n'
            for n, u in (("one", url(sent)), ("two", away))
        )
    )
    assert "1 of 2 places" in sent.here("--json", "catalog", "backup", status=3).summary["message"]
    (sent.folder / "store").rename(sent.folder / "unmounted")
    sent.here("--json", "catalog", "backup", status=10)


def test_backup_without_destinations(sent: Lab) -> None:
    assert "1 of 1 places" in sent.here("catalog", "backup").said


def test_a_home_without_any_place(lab: Lab) -> None:
    assert "no place" in lab.here("--json", "catalog", "backup", status=2).error["message"]


def test_the_lab_key_is_not_in_the_new_catalogue(sent: Lab) -> None:
    lose_home(sent)
    rebuild(sent)
    secret = open_lab_key((sent.home / "lab-key.age").read_bytes(), Secret(PASSWORD.encode())).to_text()
    assert secret.encode() not in (sent.home / "catalog.sqlite").read_bytes()

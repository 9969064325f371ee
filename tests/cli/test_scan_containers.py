"""``deid scan`` on any files: what lies in containers is searched, what cannot be opened is told with 21."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

from tests.cli.lab import Lab

TERM = "Quillfeather"


def test_members_are_searched_and_the_rest_is_told(lab: Lab) -> None:
    folder = lab.folder / "reports"
    folder.mkdir()
    with zipfile.ZipFile(folder / "quillfeather week.docx", "w") as archive:
        archive.writestr("word/document.xml", f"<w:p><w:t>{TERM[:5]}</w:t><w:t>{TERM[5:]}</w:t></w:p>")
    with tarfile.open(folder / "clean.tgz", "w:gz") as tar:
        info = tarfile.TarInfo("notes.txt")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"calm"))
    (folder / "scan.pdf").write_bytes(b"%PDF-1.7\n")
    (folder / "plain.gz").write_bytes(gzip.compress(TERM.encode("utf-16-le")))
    done = lab.here("--json", "deid", "scan", folder, "--term", TERM, status=20)
    # the name of the document, its text, and the text of the compressed file
    assert len(done.of("finding")) == 3
    assert any(f["path"].startswith("q•••") and "!w•••/d•••" in f["path"] for f in done.of("finding"))
    (closed,) = done.of("error")
    assert closed["exit_status"] == 21 and "not searched: a PDF" in closed["message"]
    assert done.summary["files"]["done"] == 1 and "1 parts NOT searched" in done.summary["message"]
    assert TERM not in done.said and TERM.lower() not in done.said

    (folder / "quillfeather week.docx").unlink()
    (folder / "plain.gz").unlink()
    done = lab.here("--json", "deid", "scan", folder, "--term", TERM, status=21)
    assert done.of("finding") == [] and done.summary["files"]["failed"] == 1
    (folder / "scan.pdf").unlink()
    lab.here("--json", "deid", "scan", folder, "--term", TERM)

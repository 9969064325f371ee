"""The pages are true: generated ones are current, links lead somewhere, what they name exists."""

from __future__ import annotations

import io
import re
import secrets
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from tools import command_reference, error_table

from ecogsafe.catalog import audit
from ecogsafe.catalog.schema import REVISION, metadata
from ecogsafe.core.errors import ExitStatus
from ecogsafe.crypt.file_key import FileKey, wrap_file_key
from ecogsafe.formats.edf_regions import text_regions
from ecogsafe.formats.text_digest import digest_of
from ecogsafe.ui.cli.main import cli
from tests.formats.builders_edf import ANNOTATIONS, Edf, Signal, tal

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
FORMAT = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def fences(text: str, language: str = "") -> list[str]:
    """Return the fenced blocks of ``language``."""
    return [body for word, body in _FENCE.findall(text) if word == language]


def headings(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    prose = _FENCE.sub("", text)
    found = re.findall(r"^#+\s+(.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in found}


def broken_links(page: Path, text: str) -> list[str]:
    """Return the relative links of ``text``, the text of ``page``, that lead nowhere."""
    broken = []
    for link in _LINK.findall(_FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists():
            broken.append(link)
            continue
        other = text if target == page else target.read_text(encoding="utf-8") if anchor else ""
        if anchor and anchor not in headings(other):
            broken.append(link)
    return broken


def undocumented(text: str, commands: Iterable[tuple[str, click.Command]]) -> list[str]:
    """Return the commands and options that the reference ``text`` does not have."""
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    missing = []
    for name, command in commands:
        section = sections.get(name)
        if section is None:
            missing.append(name)
            continue
        rows = re.findall(r"^\| `([^`]*)`", section, re.MULTILINE)
        shown = {word for row in rows for word in re.split(r"[,\s]+", row)}
        missing += [
            f"{name} {o}" for option in command_reference.options_of(command) for o in option.opts if o not in shown
        ]
    return missing


def command_lines(text: str) -> Iterator[str]:
    """Yield the lines of the unmarked code blocks that call ecogsafe."""
    for body in fences(text):
        yield from (line for line in body.splitlines() if line.startswith("ecogsafe "))


def problem_of(line: str) -> str | None:
    """Return what is wrong with the command line ``line``, None if the program would take it."""
    words = shlex.split(line)[1:]
    context = click.Context(cli, info_name="ecogsafe", **cli.context_settings)
    command: click.Command = cli
    while words:
        known = {o for p in command.params if isinstance(p, click.Option) for o in p.opts}
        takes = {o for p in command.params if isinstance(p, click.Option) and not p.is_flag for o in p.opts}
        word = words.pop(0)
        if word.startswith("-"):
            if word not in known:
                return f"no option {word}"
            if word in takes:
                words = words[1:]
        elif isinstance(command, click.Group):
            found = command.get_command(context, word)
            if found is None:
                return f"no command {word}"
            command = found
    return "a command is missing" if isinstance(command, click.Group) else None


@pytest.mark.parametrize("generator", [error_table, command_reference], ids=["errors.md", "commands.md"])
def test_generated_pages_are_current(generator: Any) -> None:
    assert generator.TARGET.read_text(encoding="utf-8") == generator.render(), f"run: {generator.COMMAND}"


@pytest.mark.parametrize("generator", [error_table, command_reference], ids=["errors.md", "commands.md"])
def test_check_tells_a_stale_page(
    generator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / generator.TARGET.name
    monkeypatch.setattr(generator, "TARGET", target)
    assert generator.main(["--check"]) == 1
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    target.write_text(target.read_text(encoding="utf-8") + "one line more\n", encoding="utf-8")
    assert generator.main(["--check"]) == 1
    assert generator.COMMAND in capsys.readouterr().out


def test_every_exit_status_has_a_meaning_and_every_error_a_code_of_its_own() -> None:
    assert set(error_table.MEANINGS) == set(ExitStatus)
    classes = error_table.error_classes()
    assert error_table.doubled(cls.code for cls in classes) == []
    assert [cls.__name__ for cls in classes if not error_table.meaning_of(cls)] == []


def test_doubled_codes_are_told() -> None:
    assert error_table.doubled(["a", "b", "a", "c", "b"]) == ["a", "b"]


def test_every_command_and_option_is_documented() -> None:
    text = command_reference.TARGET.read_text(encoding="utf-8")
    assert undocumented(text, command_reference.walk(cli)) == []
    names = {name for name, _ in command_reference.walk(cli)}
    assert set(command_reference.NOTES) <= names


def test_a_missing_command_and_a_missing_option_are_told() -> None:
    text = command_reference.render()
    without_verify = text.replace("## verify\n", "## something else\n")
    assert undocumented(without_verify, command_reference.walk(cli)) == ["verify"]
    without_deep = text.replace("| `--deep`", "| `--depth`")
    assert undocumented(without_deep, command_reference.walk(cli)) == ["verify --deep"]


def test_readme_has_the_two_commands() -> None:
    lines = [line.strip() for body in fences(README) for line in body.splitlines()]
    assert "make demo" in lines
    assert "make test" in lines


def promised(text: str) -> tuple[set[str], set[str]]:
    """Return the words in code of the README's table of what is here, and of what is not here yet."""
    table = text.split("| here | not here yet |", 1)[1].split("\n\n", 1)[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    here, absent = (set(re.findall(r"`([a-z]+)[^`]*`", " ".join(row[i] for row in rows))) for i in (0, 1))
    return here, absent


def test_readme_tells_what_is_here_and_what_is_not() -> None:
    commands = set(cli.list_commands(click.Context(cli)))
    here, absent = promised(README)
    # a single subcommand may be absent of a group that is here
    assert absent & commands <= {"deid", "subjects", "key"}
    assert commands - here == set()
    existing = {name for name, _ in command_reference.walk(cli)}
    table = README.split("| here | not here yet |", 1)[1].split("\n\n", 1)[0]
    absent_lines = "\n".join(line.strip("|").split("|")[-1] for line in table.splitlines())
    assert not [name for name in re.findall(r"`([a-z]+ [a-z]+)`", absent_lines) if name in existing]


def test_a_command_on_the_wrong_side_is_told() -> None:
    rows = (
        "| here | not here yet |",
        "|---|---|",
        "| `init`, `deid plan/apply` | `key`, `deid reidentify` |",
        "| | `cost` |",
    )
    text = "\n".join((*rows, "", "More"))
    assert promised(text) == ({"init", "deid"}, {"key", "deid", "cost"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_told() -> None:
    text = "# One\n[a](gone.md) [b](docs/format.md#no-such-heading) [c](#one) [d](#two) [e](https://example.org/x)"
    assert broken_links(ROOT / "README.md", text) == ["gone.md", "docs/format.md#no-such-heading", "#two"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_in_the_pages_are_ones_the_program_takes(page: Path) -> None:
    if page == command_reference.TARGET:
        return  # usage lines
    problems = {line: p for line in command_lines(page.read_text(encoding="utf-8")) if (p := problem_of(line))}
    assert problems == {}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("ecogsafe uplaod -t v", "no command uplaod"),
        ("ecogsafe upload --no-such-thing", "no option --no-such-thing"),
        ("ecogsafe deid", "a command is missing"),
        ("ecogsafe --json verify a1b2c3d4 --deep", None),
    ],
)
def test_a_wrong_command_line_is_told(line: str, problem: str | None) -> None:
    assert problem_of(line) == problem


def test_catalogue_tables_and_columns_are_all_described() -> None:
    assert f"Revision `{REVISION}`" in FORMAT
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", FORMAT, re.MULTILINE | re.DOTALL))
    missing = [
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if f"`{column.name}`" not in sections.get(table.name, "")
    ]
    assert missing == []


@pytest.fixture(scope="module")
def documented() -> dict[str, Callable[..., Any]]:
    """What the Python blocks of docs/format.md define."""
    names: dict[str, Any] = {}
    for body in fences(FORMAT, "python"):
        exec(compile(body, "docs/format.md", "exec"), names)
    return names


def edf_bytes(*, is_bdf: bool) -> bytes:
    """Return a file with two annotation signals, one of them not the last."""
    annotations = Signal(b"BDF Annotations", 40, dimension=b"") if is_bdf else ANNOTATIONS
    signals = (Signal(), annotations, Signal(b"C4", 12), annotations)
    blocks = [[tal(f"+{i}"), tal(f"+{i}", f"remark {i}")] for i in range(3)]
    return Edf(signals=signals, annotations=blocks, is_bdf=is_bdf, reserved=b"BDF+C" if is_bdf else b"EDF+C").build()


@pytest.mark.parametrize("is_bdf", [False, True], ids=["EDF", "BDF"])
@pytest.mark.parametrize("trailing", [b"", b"left by another program"], ids=["whole", "bytes behind"])
def test_text_digest_is_as_documented(documented: dict[str, Callable[..., Any]], is_bdf: bool, trailing: bytes) -> None:
    data = edf_bytes(is_bdf=is_bdf) + trailing
    ours = list(text_regions(io.BytesIO(data)))
    regions = documented["edf_text_regions"](data)
    assert regions == [(r.offset, r.length) for r in ours]
    assert documented["text_digest"](data, regions) == digest_of(io.BytesIO(data), ours)


def test_audit_hash_is_as_documented(documented: dict[str, Callable[..., Any]]) -> None:
    row = audit.AuditRow(
        seq=7,
        run_id="run",
        prev_hash="0" * 64,
        hash="",
        at="2026-01-02T03:04:05.678901Z",
        who="é",
        host="host",
        version="0.1",
        act="upload",
        subject="a1b2c3d4",
        object="a1b2c3d4_edf/a1b2c3d4_1.edf",
        digest=None,
        store="s",
        result="checksum",
    )
    columns = (row.seq, row.run_id, row.prev_hash, row.at, row.who, row.host, row.version, row.act)
    rest = (row.subject, row.object, row.digest, row.store, row.result)
    assert documented["audit_hash"](*columns, *rest) == audit.hash_of(row)


def test_wrapped_file_key_is_as_documented(documented: dict[str, Callable[..., Any]]) -> None:
    resume_key, file_key = secrets.token_bytes(32), FileKey.new()
    blob = wrap_file_key(file_key, resume_key)
    assert len(blob) == 57
    assert documented["unwrap"](blob, resume_key) == file_key.reveal()


def test_every_command_that_a_message_names_exists() -> None:
    """What an error tells to run next must be there today, not in a later version."""
    known = set(cli.list_commands(click.Context(cli)))
    missing = []
    for source in sorted((ROOT / "src").rglob("*.py")):
        for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
            for text in re.findall(r"next=f?\"([^\"]*)\"", line):
                missing += [
                    f"{source.name}:{number}: {name}"
                    for name in re.findall(r"(?:^|[,:(] ?|or |then )ecogsafe ([a-z]+)", text)
                    if name not in known
                ]
    assert not missing

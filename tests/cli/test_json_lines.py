"""The JSON Lines of every command hold to DESIGN 4; `Lab` checks each stream, here their content is looked at."""

from __future__ import annotations

import pytest

from tests.cli.json_contract import check_event, check_stream
from tests.cli.lab import Lab


def test_every_command_ends_with_its_summary(handed_over: Lab) -> None:
    applied = handed_over
    applied.here("--json", "deid", "plan", applied.export, "--identifiers", applied.identifiers("a"))
    assert applied.apply("a").summary["command"] == "deid apply"
    store = applied.folder / "store"
    store.mkdir()
    (applied.folder / "back").mkdir()
    url = store.as_uri()
    code = applied.codes["a"]
    commands = {
        "upload": ("upload", "-d", applied.out, "--to", url, "-t", "v"),
        "download": ("download", "--from", url, "-d", applied.folder / "back"),
        "verify": ("verify", "--deep"),
        "status": ("status",),
        "deid scan": ("deid", "scan", applied.out, "--subject", code),
        "deid undo": ("--yes", "deid", "undo", code),
    }
    for name, words in commands.items():
        done = applied.here("--json", *words)
        assert done.summary["command"] == name
        assert done.summary["files"]["failed"] == 0


def test_items_of_an_upload_tell_what_where_and_how(applied: Lab) -> None:
    store = applied.folder / "store"
    store.mkdir()
    done = applied.here("--json", "upload", "-d", applied.out, "--to", store.as_uri(), "-t", "e")
    items = done.of("item", action="upload")
    assert len(items) == 6
    for item in items:
        assert item["status"] == "done"
        assert item["subject"] in applied.codes.values()
        assert item["segment"] in (1, 2, 3)
        assert item["path"] == f"edf/{item['key']}"
        assert (store / item["key"]).stat().st_size == item["bytes"]
        assert item["store"] == store.as_uri()
        assert len(item["digest"]) == 64
    progress = done.of("progress")[-1]
    assert (progress["files_done"], progress["files_total"]) == (6, 6)
    assert progress["bytes_done"] == progress["bytes_total"] == sum(i["bytes"] for i in items)
    assert done.summary["files"]["done"] == 6
    assert done.summary["bytes"] == progress["bytes_total"]


def test_status_tells_every_problem(applied: Lab) -> None:
    store = applied.folder / "store"
    store.mkdir()
    empty = applied.here("--json", "status")
    assert empty.summary["message"].startswith("not safe yet") == bool(empty.of("item", action="problem"))
    applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "e")
    done = applied.here("--json", "status")
    problems = done.of("item", action="problem")
    assert len(problems) == done.summary["counts"]["unsafe"] > 0
    assert done.summary["message"].startswith("not safe yet: ")
    assert done.summary["files"]["done"] == 6
    assert applied.here("--json", "status", "--check", status=3).summary["counts"] == done.summary["counts"]


def test_an_error_tells_what_is_safe_and_what_to_do(applied: Lab) -> None:
    done = applied.here("--json", "upload", "-d", applied.folder / "nowhere", "-b", "x-y-z", "-t", "v", status=2)
    error = done.error
    assert error["code"] == "usage"
    assert error["exit_status"] == 2
    assert error["safe"]
    assert error["next"]


def test_a_wrong_command_line_is_a_stream_too(lab: Lab) -> None:
    done = lab.here("--json", "upload", "-d", ".", status=2)
    assert "-t" in done.error["message"]


def test_without_json_standard_output_is_no_json(lab: Lab) -> None:
    assert not lab.here("status").out.startswith("{")


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("", "nothing"),
        ('{"message_type": "item", "action": "a", "status": "done"}', "summary"),
        ('{"message_type": "item", "action": "a", "status": "splendid"}', "splendid"),
        ('{"message_type": "error", "code": "usage", "exit_status": 2, "message": "m", "safe": "s"}', "next"),
        (
            '{"message_type": "summary", "command": "c", "exit_status": 3, "bytes": 0, "seconds": 0, "counts": {}, '
            '"files": {"done": 0, "skipped": 0, "failed": 0, "left_behind": 0}}',
            "the process 0",
        ),
    ],
)
def test_the_check_of_the_contract_fires(broken: str, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        check_stream(broken, 0)


def test_an_item_with_a_field_of_another_type_is_refused() -> None:
    with pytest.raises(AssertionError):
        check_event({"message_type": "item", "action": "a", "status": "done", "segment": "1"})

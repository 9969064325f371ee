"""What the settings of a bucket mean: each that endangers recordings is told, each that does not is not."""

from __future__ import annotations

import pytest

from ecogsafe.core.events import Event, Item
from ecogsafe.service.doctor_bucket import judge
from ecogsafe.service.doctor_report import Report
from ecogsafe.stores.s3_settings import BucketSettings, LifecycleRule, ObjectLock

ABORT = LifecycleRule(name="abort", prefix="", abort_days=7)
PUBLIC = "public access"


def judged(prefix: str = "lab", **settings: object) -> dict[str, list[str]]:
    """Return the checks by status."""
    given = {"versioning": "Enabled", "object_lock": ObjectLock(mode="COMPLIANCE", days=90), "blocks_public": True}
    events: list[Event] = []
    made = BucketSettings(**{**given, "rules": (ABORT,), **settings})  # type: ignore[arg-type]
    judge(Report(events.append), made, bucket="bucket", prefix=prefix, store="store")
    found: dict[str, list[str]] = {"done": [], "failed": [], "note": []}
    for event in events:
        assert isinstance(event, Item)
        assert event.status != "failed" or event.details["fix"]
        found[event.status].append(event.details["check"])
    return found


def test_a_bucket_that_is_well_set_up() -> None:
    assert judged() == {"done": ["versioning", "object lock", PUBLIC, "lifecycle"], "failed": [], "note": []}


def test_what_is_not_told_is_neither_good_nor_bad() -> None:
    found = judged(versioning=None, object_lock=None, blocks_public=None, rules=None)
    assert found == {"done": [], "failed": [], "note": ["versioning", "object lock", PUBLIC, "lifecycle"]}


@pytest.mark.parametrize(
    ("settings", "check"),
    [
        ({"versioning": "off"}, "versioning"),
        ({"versioning": "Suspended"}, "versioning"),
        ({"blocks_public": False}, PUBLIC),
        ({"rules": ()}, "lifecycle"),
    ],
)
def test_settings_that_endanger_are_told(settings: dict[str, object], check: str) -> None:
    assert judged(**settings)["failed"] == [check]


@pytest.mark.parametrize("lock", [False, ObjectLock()])
def test_a_missing_lock_is_advice(lock: ObjectLock | bool) -> None:
    found = judged(object_lock=lock)
    assert (found["failed"], found["note"]) == ([], ["object lock"])


@pytest.mark.parametrize(
    ("rule", "count"),
    [
        (LifecycleRule(name="all", prefix="", expires_days=365), 1),
        (LifecycleRule(name="date", prefix="lab/", expires_days=0), 1),
        (LifecycleRule(name="one subject", prefix="lab/a1b2c3d4", expires_days=1), 1),
        (LifecycleRule(name="tagged", prefix="", is_narrowed=True, expires_days=1), 1),
        (LifecycleRule(name="another folder", prefix="other/", expires_days=1), 0),
        (LifecycleRule(name="longer name", prefix="laboratory/", expires_days=1), 0),
        (LifecycleRule(name="probes", prefix="lab/_ecogsafe/probe/", expires_days=1), 0),
        (LifecycleRule(name="versions", prefix="", noncurrent_days=29), 1),
        (LifecycleRule(name="versions", prefix="", noncurrent_days=30), 0),
        (LifecycleRule(name="impatient", prefix="", abort_days=6), 1),
        (LifecycleRule(name="patient", prefix="", abort_days=30), 0),
        (LifecycleRule(name="everything", prefix="", expires_days=9, noncurrent_days=1, abort_days=1), 3),
    ],
)
def test_rules_that_take_data_away_are_told(rule: LifecycleRule, count: int) -> None:
    assert judged(rules=(ABORT, rule))["failed"] == ["lifecycle"] * count


@pytest.mark.parametrize(
    "rule",
    [
        LifecycleRule(name="elsewhere", prefix="other/", abort_days=7),
        LifecycleRule(name="a part", prefix="lab/a1b2c3d4", abort_days=7),
        LifecycleRule(name="tagged", prefix="", is_narrowed=True, abort_days=7),
    ],
)
def test_a_rule_that_does_not_reach_all_uploads_is_none(rule: LifecycleRule) -> None:
    assert judged(rules=(rule,))["failed"] == ["lifecycle"]


def test_a_whole_bucket_is_meant_by_rules_of_every_prefix() -> None:
    rule = LifecycleRule(name="some", prefix="anything/", expires_days=1)
    assert judged(prefix="", rules=(ABORT, rule))["failed"] == ["lifecycle"]

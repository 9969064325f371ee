"""The settings of a bucket, judged: may anybody read it, may anything there vanish, is anything paid for in vain."""

from __future__ import annotations

from ecogsafe.core.config import Destination
from ecogsafe.core.errors import EcogsafeError
from ecogsafe.service.doctor_report import Report
from ecogsafe.stores.protocol import OWN_PREFIX
from ecogsafe.stores.s3_settings import BucketSettings, LifecycleRule, ObjectLock, settings_of

#: an upload of a large archive over a slow line goes on for days
LEAST_ABORT_DAYS = 7
#: versions that go sooner protect nobody from a mistake
LEAST_NONCURRENT_DAYS = 30


def check_bucket(report: Report, place: Destination) -> None:
    """Ask for the settings of the bucket of ``place`` and tell what they mean."""
    try:
        address, settings = settings_of(place.url)
    except EcogsafeError as error:
        report.note("bucket settings", f"could not be asked: {error.problem}", error.next, store=place.name)
        return
    judge(report, settings, bucket=address.bucket, prefix=address.prefix, store=place.name)


def judge(report: Report, settings: BucketSettings, *, bucket: str, prefix: str, store: str) -> None:
    """Tell what the settings mean for what lies below ``prefix``."""
    _versions(report, settings, bucket, store)
    _lock(report, settings, store)
    _public(report, settings, bucket, store)
    if settings.rules is None:
        _not_told(report, "lifecycle", "s3:GetLifecycleConfiguration", store)
    else:
        _lifecycle(report, settings.rules, bucket, f"{prefix}/" if prefix else "", store)


def _not_told(report: Report, check: str, permission: str, store: str) -> None:
    report.note(check, f"not told ({permission} is not granted, or the server has no such thing)", store=store)


def _versions(report: Report, settings: BucketSettings, bucket: str, store: str) -> None:
    if settings.versioning is None:
        _not_told(report, "versioning", "s3:GetBucketVersioning", store)
    elif settings.versioning == "Enabled":
        report.good("versioning", "versions are kept", store=store)
    else:
        report.bad(
            "versioning",
            "no versions are kept: what another program deletes or replaces there is gone",
            f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled",
            store=store,
        )


def _lock(report: Report, settings: BucketSettings, store: str) -> None:
    lock = settings.object_lock
    if lock is None:
        _not_told(report, "object lock", "s3:GetBucketObjectLockConfiguration", store)
    elif isinstance(lock, ObjectLock) and lock.mode is not None:
        report.good("object lock", f"new objects are locked: {lock.mode}, {lock.days} days", store=store)
    else:
        what = "there is an Object Lock, but new objects get none by default" if lock else "no Object Lock"
        report.note("object lock", f"{what}: whoever has the account can delete the copies", store=store)


def _public(report: Report, settings: BucketSettings, bucket: str, store: str) -> None:
    if settings.blocks_public is None:
        _not_told(report, "public access", "s3:GetBucketPublicAccessBlock", store)
    elif settings.blocks_public:
        report.good("public access", "is blocked", store=store)
    else:
        report.bad(
            "public access",
            "is not blocked: one wrong policy shows the recordings to everybody",
            f"aws s3api put-public-access-block --bucket {bucket} --public-access-block-configuration "
            "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true",
            store=store,
        )


def _lifecycle(report: Report, rules: tuple[LifecycleRule, ...], bucket: str, ours: str, store: str) -> None:
    before = report.bad_count
    for rule in rules:
        # of the probes only, which may go
        if rule.prefix.startswith(f"{ours}{OWN_PREFIX}probe/"):
            continue
        if rule.prefix.startswith(ours) or ours.startswith(rule.prefix):
            _rule(report, rule, bucket, store)
    everywhere = [r for r in rules if r.abort_days is not None and not r.is_narrowed and ours.startswith(r.prefix)]
    if not everywhere:
        report.bad(
            "lifecycle",
            "no rule aborts uploads that were never finished: their parts are paid for and seen in no listing",
            "add a rule AbortIncompleteMultipartUpload with DaysAfterInitiation 7 (docs/inventory.md)",
            store=store,
        )
    if report.bad_count == before:
        report.good("lifecycle", "nothing expires, and unfinished uploads are aborted in time", store=store)


def _rule(report: Report, rule: LifecycleRule, bucket: str, store: str) -> None:
    named = f"a rule ({rule.name})" if rule.name else "a rule"
    look = f"change it: aws s3api get-bucket-lifecycle-configuration --bucket {bucket}"
    if rule.expires_days is not None:
        when = "at a date" if rule.expires_days == 0 else f"after {rule.expires_days} days"
        report.bad("lifecycle", f"{named} deletes objects {when}: recordings would be lost", look, store=store)
    if rule.noncurrent_days is not None and rule.noncurrent_days < LEAST_NONCURRENT_DAYS:
        text = f"{named} removes old versions after {rule.noncurrent_days} days: a mistake must be seen within them"
        report.bad("lifecycle", text, look, store=store)
    if rule.abort_days is not None and rule.abort_days < LEAST_ABORT_DAYS:
        text = f"{named} aborts unfinished uploads after {rule.abort_days} days: a long one could never be continued"
        report.bad("lifecycle", text, look, store=store)

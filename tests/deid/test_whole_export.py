"""A synthetic export with every real format through plan, apply and undo, for two patients one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

from ecogsafe.deid.apply import apply_plan
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.layout import parse_target
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.plan import plan_deid
from ecogsafe.deid.planned import ExistingSegment, Part
from ecogsafe.deid.undo import undo_apply
from ecogsafe.deid.whose import belongs_to, divide
from ecogsafe.formats.cleaning import CleaningRequest, patches
from ecogsafe.formats.discovery import discover
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.regions import Find, Patch
from ecogsafe.synthetic.export import ExportScale, write_export
from ecogsafe.synthetic.ledger import search
from tests.deid.small_export import Heard, journal_folder, snapshot, taken_places

CODES = {"a": "abcd1234", "b": "b0000002"}


def test_two_patients_go_in_order_come_clean_and_come_back(tmp_path: Path) -> None:
    export, out = tmp_path / "export", tmp_path / "out"
    ledger = write_export(export, form="mixed", scale=ExportScale.tiny(), seed=3)
    before = snapshot(export)
    out.mkdir()
    journals = journal_folder(tmp_path / "journals")
    zone = ZoneInfo(ledger.time_zone)
    for patient in ledger.patients:
        code = CODES[patient.key]
        named = Identifiers(last_name=patient.last_name, first_name=patient.first_name)
        discovery = discover(export)
        shares = divide(discovery, belongs_to(named))
        person = named.merge(Identifiers.from_hints(s.person for s in shares.ours))
        plan = plan_deid(discovery, code=code, belongs=belongs_to(person), person=person, zone=zone)
        for truth in ledger.segments_of(patient.key):
            moved = {m.source.path.relative_to(export).as_posix(): m for m in plan.moves}
            for path in (truth.edf, truth.vtc_text, truth.snc_text, *(c.path for c in truth.clips)):
                assert moved[path].segment == truth.order
        assert not plan.conflicts and all(entry.by_rule for entry in plan.left)
        find = Matcher(person).find

        def clean(kind: Kind, file: BinaryIO, stem: str, code: str = code, find: Find = find) -> Iterator[Patch]:
            return patches(kind, file, CleaningRequest(code=code, stem=stem, find=find))

        done = apply_plan(plan, out=out, journals=journals, clean=clean, events=Heard()).done
        assert len(done) == len(plan.moves) > 40
        names = {p.term for p in ledger.planted if p.patient == patient.key and p.place.endswith("name")}
        assert not list(search(out, {patient.last_name, patient.mrn, *names}))
        for entry in done:
            assert parse_target(entry.tree, entry.target) is not None
        existing = [
            ExistingSegment(number=s.number, parts=s.parts, published=frozenset(s.parts)) for s in plan.segments
        ]
        again = plan_deid(
            discovery,
            code=code,
            belongs=belongs_to(person),
            zone=zone,
            existing=existing,
            taken=taken_places(out, code),
        )
        assert not again.moves and not again.conflicts and len(again.segments) == 3
        assert all(set(s.parts) == set(Part) for s in again.segments)
    for code in CODES.values():
        assert not undo_apply(code, journals=journals, events=Heard()).not_done
    assert snapshot(export) == before

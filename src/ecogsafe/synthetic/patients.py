"""Two invented patients: one with an accented double name, one whose names hide in ordinary words."""

from __future__ import annotations

import json
import random
import unicodedata
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """An invented person, and the staff and machines around the person."""

    #: short word for tests and the ledger: "a", "b"; occurs in no file
    key: str
    last_name: str
    first_name: str
    middle_name: str
    #: "F" or "M"
    sex: str
    mrn: str
    birth_date: date
    telephone: str
    email: str
    address: str
    social_security: str
    account: str
    fax: str
    city: str
    #: ZIP+4: five digits alone turn up in any number
    zip_code: str
    #: of the health plan
    plan_number: str
    #: of the clinician who signs the report
    licence: str
    #: file server of the site, as it stands in network paths
    server: str
    ip_address: str
    technician: str
    login: str
    host: str
    #: serial number of the amplifier, fits an i32
    headbox_serial: int
    #: NeuroWorks' own number of the patient, fits an i32
    internal_id: int
    #: of the studies, in true order
    study_guids: tuple[str, ...]
    #: naive wall clock of the site at which the studies begin, in true order
    starts: tuple[datetime, ...]
    #: EDF variant of the recordings, in true order
    variants: tuple[str, ...]
    #: channel labels that look like an identifier and are none: they must survive de-identification
    own_labels: tuple[str, ...]
    #: annotation texts of the same sort
    own_annotations: tuple[str, ...]
    #: 8-bit code page in which old machines of the site wrote the name
    code_page: str = "latin-1"

    @property
    def full_name(self) -> str:
        """``Last, First``."""
        return f"{self.last_name}, {self.first_name}"

    @property
    def folded_last_name(self) -> str:
        """The last name as ASCII, accents dropped."""
        return folded(self.last_name)

    @property
    def folded_first_name(self) -> str:
        """The first name as ASCII, accents dropped."""
        return folded(self.first_name)

    @property
    def also(self) -> tuple[str, ...]:
        """Further direct identifiers: contact data, numbers, staff, machines, study GUIDs."""
        names = (self.last_name, self.first_name)
        return (
            *(folded(name) for name in names if folded(name) != name),
            self.telephone,
            self.email,
            self.address,
            self.social_security,
            self.account,
            self.technician,
            self.login,
            self.host,
            str(self.headbox_serial),
            *self.study_guids,
        )

    @property
    def by_place(self) -> tuple[str, ...]:
        """Identifiers that no identifiers file lists: their place alone tells that they go."""
        return (self.fax, self.city, self.zip_code, self.plan_number, self.licence, self.server, self.ip_address)

    def age_at(self, day: date) -> int:
        """Return the age in years."""
        had_birthday = (day.month, day.day) >= (self.birth_date.month, self.birth_date.day)
        return day.year - self.birth_date.year - (not had_birthday)

    def stem(self, order: int) -> str:
        """Return ``Last~ First_GUID`` of the study ``order`` (from 1)."""
        return f"{self.last_name}~ {self.first_name}_{self.study_guids[order - 1]}"

    def terms(self) -> Iterator[str]:
        """Yield each direct identifier as text; the birth date in the spellings the files use."""
        yield from (self.last_name, self.first_name, self.middle_name, self.mrn)
        yield from birth_date_texts(self.birth_date)
        yield from self.also
        yield from self.by_place

    def identifiers_toml(self) -> str:
        """Return the identifiers file of this patient, as ``deid --identifiers`` takes it."""
        lines = [
            f"{key} = {_toml_text(value)}"
            for key, value in (
                ("last_name", self.last_name),
                ("first_name", self.first_name),
                ("middle_name", self.middle_name),
                ("mrn", self.mrn),
                ("birth_date", self.birth_date.isoformat()),
            )
        ]
        also = "".join(f"    {_toml_text(text)},\n" for text in self.also)
        return "\n".join(lines) + f"\nalso = [\n{also}]\n"


def folded(text: str) -> str:
    """Return ``text`` without its accents."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def birth_date_texts(day: date) -> tuple[str, ...]:
    """Return the spellings of a birth date that are planted: ISO, EDF+, United States, OLE days."""
    return (day.isoformat(), edf_date(day), f"{day:%m/%d/%Y}", ole_text(day))


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def edf_date(day: date) -> str:
    """Return ``dd-MMM-yyyy`` with the English month, whatever the locale."""
    return f"{day.day:02d}-{_MONTHS[day.month - 1]}-{day.year}"


def ole_text(day: date) -> str:
    """Return ``day`` as NeuroWorks writes an OLE DATE: days since 1899-12-30 as a real."""
    return f"{(day - date(1899, 12, 30)).days:d}.000000"


def synthetic_patients(seed: int) -> tuple[Patient, Patient]:
    """Return the two patients; ``seed`` chooses the study GUIDs and internal numbers, the names are fixed."""
    return _accented(random.Random(f"{seed}/patient a")), _hidden_in_words(random.Random(f"{seed}/patient b"))


def _guids(rng: random.Random) -> tuple[str, ...]:
    """Return three GUIDs whose alphabetical order (2, 3, 1) is not the order in time."""
    first, second, third = sorted(str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(3))
    return (third, first, second)


def _accented(rng: random.Random) -> Patient:
    return Patient(
        key="a",
        last_name="Québrane-Zölt",
        first_name="Maëlis",
        middle_name="Ysolde",
        sex="F",
        mrn="70042917",
        birth_date=date(1987, 3, 9),
        telephone="(206) 555-0142",
        email="maelis.qz@example.org",
        address="1420 Fictional Way, Apt 3",
        social_security="000-12-9871",
        account="ACC-5590121",
        fax="(206) 555-0143",
        city="Port Ferrow",
        zip_code="98199-0042",
        plan_number="HPN-3310447",
        licence="MD-0048812",
        server="emu-nas-07",
        ip_address="10.77.203.14",
        technician="T. Quillonby",
        login="qtech07",
        host="EMU-REVIEW-04",
        headbox_serial=448812,
        internal_id=rng.randrange(1 << 24, 1 << 30),
        study_guids=_guids(rng),
        # the clocks go forward in the night between the first and the second
        starts=(
            datetime(2024, 3, 9, 22, 15, 30),  # noqa: DTZ001 - wall clock of the site, no zone in the format
            datetime(2024, 3, 10, 9, 40, 5, 347000),  # noqa: DTZ001
            datetime(2024, 3, 11, 13, 5, 0),  # noqa: DTZ001
        ),
        variants=("EDF+C", "EDF+D", "BDF"),
        own_labels=("LZT1", "LZT2"),
        own_annotations=("Seizure onset left", "Zoltan task block 2"),
    )


def _hidden_in_words(rng: random.Random) -> Patient:
    return Patient(
        key="b",
        last_name="Post",
        first_name="Quillan",
        middle_name="Ode",
        sex="M",
        mrn="80055310",
        birth_date=date(1962, 11, 24),
        telephone="(425) 555-0178",
        email="q.post@example.net",
        address="77 Nowhere Lane",
        social_security="000-45-1234",
        account="ACC-7718003",
        fax="(425) 555-0179",
        city="Lower Quarrow",
        zip_code="98034-7716",
        plan_number="HPN-9925518",
        licence="MD-0077301",
        server="eeg-share-2",
        ip_address="10.77.210.86",
        technician="R. Imbertine",
        login="rimb22",
        host="EMU-ACQ-11",
        headbox_serial=451907,
        internal_id=rng.randrange(1 << 24, 1 << 30),
        study_guids=_guids(rng),
        # the clocks go back in the night between the second and the third
        starts=(
            datetime(2023, 11, 3, 8, 20, 0),  # noqa: DTZ001
            datetime(2023, 11, 4, 23, 50, 10),  # noqa: DTZ001
            datetime(2023, 11, 5, 15, 30, 45, 125000),  # noqa: DTZ001
        ),
        variants=("EDF+D", "BDF+C", "EDF+C"),
        own_labels=("LPOST1", "Poster2"),
        own_annotations=("Postictal slowing", "Electrode check, posterior grid"),
    )


def _toml_text(text: str) -> str:
    """Return ``text`` as a TOML basic string; its escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False)

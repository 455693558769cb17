"""Outputs of the participant level, written by the project's own functions, for people whose gap is known."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from brainage_bids.bids.dataset import write_dataset_description
from brainage_bids.bids.estimates import ABOUT, COLUMNS, estimate_rows
from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.sink import sink_json, sink_table, sink_text
from brainage_bids.records import AgeEstimate, Session
from brainage_bids.settings import GroupSettings

SHA = "a" * 64


@dataclass
class Study:
    """A raw dataset and its outputs, person after person."""

    root: Path
    people: list[dict] = field(default_factory=list)

    @property
    def raw(self):
        return self.root / "raw"

    @property
    def out(self):
        return self.root / "raw" / "derivatives" / "brainage"

    def settings(self, **options):
        return GroupSettings(str(self.raw), str(self.out), **options)

    def add(self, name, ages, *, session=None, in_table=True, volumes=None, quality=None, sha=SHA, flags=(), listed_age=None, **columns):
        """One visit: `ages` is (age, {model: brain age}); further columns go to participants.tsv."""
        age, models = ages
        (self.raw / name / (session or "") / "anat").mkdir(parents=True, exist_ok=True)
        if in_table and name not in {person["participant_id"] for person in self.people}:
            self.people.append({"participant_id": name, "age": age if listed_age is None else listed_age, **columns})
        estimates = [self.estimate(model, value, tuple(flags), sha) for model, value in models.items()]
        visit = Session(name, session, {}, age=age)
        if estimates:
            sink_table(estimate_rows(visit, estimates), self.path("brainage", name, session), COLUMNS, sidecar=ABOUT)
        if volumes:
            names = table_columns("volumes_atlas")
            rows = [
                {"participant_id": name, "session_id": session, "index": place, "name": key, "hemisphere": "n/a", "volume_mm3": value}
                for place, (key, value) in enumerate(volumes.items())
            ]
            sink_table(rows, self.path("volumes_atlas", name, session), names)
        if quality:
            rows = [
                {"metric": key, "value": value, "unit": "1", "low": None, "high": None, "flag": None, "description": key}
                for key, value in quality.items()
            ]
            sink_table(rows, self.path("qc", name, session), table_columns("qc"))

    @staticmethod
    def estimate(model, value, flags, sha):
        modality = "FLAIR" if model.endswith("flair") else "T1w"
        return AgeEstimate(model, modality, value, 4.0, None, None, value - 8, value + 8, 0.95, "gaussian", flags, sha)

    def path(self, key, name, session=None):
        return derivative_path(self.out, key, name, session)

    def finish(self, **tables):
        """Write participants.tsv, phenotype tables (name=rows) and the descriptions."""
        sink_json({"Name": "x", "BIDSVersion": "1.10.0", "License": "CC0", "Authors": ["A B"]}, self.raw / "dataset_description.json")
        if self.people:
            self.table(self.raw / "participants.tsv", self.people)
        for name, rows in tables.items():
            self.table(self.raw / "phenotype" / f"{name}.tsv", rows)
        write_dataset_description(self.out, self.raw, "0.1")
        return self

    @staticmethod
    def table(path, rows):
        names = list(dict.fromkeys(key for row in rows for key in row))
        lines = ["\t".join(names)] + ["\t".join(str(row.get(key, "n/a")) for key in names) for row in rows]
        sink_text("\n".join(lines) + "\n", path)


@pytest.fixture(scope="session", autouse=True)
def no_flush():
    """Hundreds of small files are written; waiting for the disk after each would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def fill(study, n=60, *, seed=1, patients=True, sessions=(None,), models=("t1", "flair")):
    """People of 20 to 80 years: brain age regresses to 50 by .8; every third is a patient with 6 years more; nfl follows the gap."""
    random = np.random.default_rng(seed)
    blood = []
    for number in range(n):
        name, age, patient = f"sub-{number:03d}", round(float(random.uniform(20, 80)), 2), patients and number % 3 == 0
        true = 6.0 * patient + random.normal(0, 3)
        site = "ab"[number % 2]
        for session in sessions:
            values = {
                model: 50 + 0.8 * (age + true - 50) + 3 * (site == "b") + random.normal(0, 1 + place) for place, model in enumerate(models)
            }
            study.add(
                name, (age, {model: round(value, 3) for model, value in values.items()}), session=session, sex="FM"[number // 2 % 2],
                site=site, group="patient" if patient else "control", in_table=True,
                volumes={"Left-Hippocampus": 4000 - 20 * (age + true) + random.normal(0, 50), "Brain-Stem": 20000 + random.normal(0, 500)},
                quality={"snr": 10 + random.normal(0, 1)},
            )  # fmt: skip
        if len(sessions) > 1:
            rows = [{"session_id": session, "age": age} for session in sessions]
            study.table(study.raw / name / f"{name}_sessions.tsv", rows)
        blood.append({"participant_id": name, "nfl": round(10 + 0.5 * true + random.normal(0, 1), 3), "noise": round(random.normal(), 3)})
    return study.finish(blood=blood)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A study of 60 people, two models, a retest each."""
    return fill(Study(tmp_path_factory.mktemp("study")), sessions=("ses-1", "ses-2"))


@pytest.fixture(scope="session")
def study_at():
    return Study


@pytest.fixture(scope="session")
def make_study():
    return fill


@pytest.fixture
def with_reference():
    return lambda settings: replace(settings, reference="group == 'control'")

"""Drawn people: planted effects are found again, and nothing but the brain tells the age."""

from dataclasses import replace

import numpy as np
import pytest

from brainage_bids.phantoms.ageing import LAWS, target_volumes
from brainage_bids.phantoms.cohort import MOTION_SHARE, RISKS, Cohort, residual_sd, risk_years
from brainage_bids.phantoms.design import Design, differences
from brainage_bids.phantoms.scanners import make_scanners, null_time
from brainage_bids.records import BadConfiguration

BIG = Design(participants=4000, patients=800, sites=2, scanners_per_site=2, blood=False, seed=3)


@pytest.fixture(scope="module")
def people():
    return list(Cohort(BIG))


def column(people, what):
    return np.array([what(person) for person in people], dtype=float)


def regress(target, *columns):
    """Coefficients of a linear model without its intercept, and their standard errors."""
    design = np.column_stack([np.ones(len(target)), *columns])
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ target
    residual = target - design @ coefficients
    errors = np.sqrt(np.diag(inverse) * (residual @ residual) / (len(target) - design.shape[1]))
    return coefficients[1:], errors[1:], residual.std()


def test_the_gap_is_made_of_what_was_planted(people):
    patient = column(people, lambda p: p.first.group == "patient")
    gap = column(people, lambda p: p.first.gap)
    risks = [column(people, lambda p, name=name: p.risks[name]) for name in RISKS]
    found, errors, spread = regress(gap, patient, *risks)
    planted = [BIG.patient_gap, *risk_years(BIG).values()]
    assert np.all(np.abs(found - planted) < 3 * errors)
    assert spread == pytest.approx(residual_sd(BIG), rel=0.05)
    assert gap[patient == 0].std() == pytest.approx(BIG.gap_sd, rel=0.05)
    assert abs(gap[patient == 0].mean()) < 3 * BIG.gap_sd / np.sqrt((patient == 0).sum())


def test_nothing_but_the_brain_tells_the_age(people):
    controls = [person for person in people if person.first.group == "control"]
    age = column(controls, lambda p: p.first.age)
    others = {
        "gap": lambda p: p.first.gap,
        "sex": lambda p: p.first.sex == "M",
        "motion": lambda p: p.first.motion,
        "scanner": lambda p: p.first.scanner.noise,
        **{name: lambda p, name=name: p.risks[name] for name in RISKS},
        **{law: lambda p, law=law: p.first.standing[law] for law in LAWS},
    }
    for name, what in others.items():
        assert abs(np.corrcoef(age, column(controls, what))[0, 1]) < 4 / np.sqrt(len(controls)), name


def test_everybody_is_as_asked_for(people):
    ages = column(people, lambda p: p.first.age)
    patient = column(people, lambda p: p.first.group == "patient") == 1
    assert patient.sum() == 800 and ages[patient].min() >= 55 and ages.min() >= 20 and ages.max() <= 85
    assert all((person.first.pattern > 0) == (person.first.group == "patient") for person in people)
    for chosen in (patient, ~patient):  # scanners are shared out evenly among patients and among controls
        names, counts = np.unique([person.first.scanner.name for person, is_one in zip(people, chosen) if is_one], return_counts=True)
        assert len(names) == 4 and counts.max() - counts.min() <= 1
    assert column(people, lambda p: p.first.motion > 0).mean() == pytest.approx(MOTION_SHARE, abs=0.02)
    assert len({person.first.anatomy_seed for person in people}) == len(people)
    for person in people[:50]:
        assert target_volumes(person.first)["outer_csf"] > 0


def test_a_person_does_not_depend_on_who_is_drawn_before():
    cohort, again = Cohort(BIG), Cohort(BIG)
    assert [again.person(number) for number in (7, 3)] == [list(map(cohort.person, range(10)))[number] for number in (7, 3)]
    assert Cohort(replace(BIG, seed=4)).person(3) != cohort.person(3)


def test_retests_and_follow_ups():
    design = Design(participants=5, sessions=4, years_between=(0, 2, 1.5), sites=2, change_scanner=True)
    for person in Cohort(design):
        first, retest, later, last = person.visits
        assert (retest.age, later.age, last.age) == pytest.approx((first.age, first.age + 2, first.age + 3.5), abs=0.011)
        assert [visit.session_id for visit in person.visits] == ["ses-1", "ses-2", "ses-3", "ses-4"]
        assert len({visit.visit_seed for visit in person.visits}) == 4
        assert len({(visit.anatomy_seed, visit.gap, tuple(visit.standing.values())) for visit in person.visits}) == 1
        assert first.scanner != retest.scanner and first.scanner == later.scanner
        assert (
            replace(retest, session_id=first.session_id, visit_seed=first.visit_seed, scanner=first.scanner, motion=first.motion) == first
        )


def test_without_a_gap_there_are_no_risks():
    people = list(Cohort(Design(participants=20, gap_sd=0.0, blood=False)))
    assert {person.first.gap for person in people} == {0.0}


def test_scanners_differ_in_known_ways():
    scanners = make_scanners(Design(sites=3, scanners_per_site=2, resolution=2.0))
    assert len({scanner.name for scanner in scanners}) == 6 and len({scanner.site for scanner in scanners}) == 3
    assert len({(scanner.field_t, scanner.noise, scanner.bias, scanner.gain) for scanner in scanners}) == 6
    assert set(scanners[0].sequences["FLAIR"].voxel_mm) == {2.0}  # the reference has equal edges
    assert scanners[1].sequences["FLAIR"].voxel_mm == (2.0, 2.0, 3.0)
    for scanner in scanners:
        tr, ti = scanner.sequences["FLAIR"].tr, scanner.sequences["FLAIR"].ti
        assert 1 - 2 * np.exp(-ti / 4.3) + np.exp(-tr / 4.3) == pytest.approx(0, abs=1e-3)  # fluid gives no signal
    assert null_time(1000.0) == pytest.approx(4.3 * np.log(2))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"ages": (60.0, 20.0)}, "--ages"),
        ({"participants": 0}, "--participants"),
        ({"patients": 41}, "--patients"),
        ({"sessions": 4, "years_between": (1.0, 2.0)}, "--years-between"),
        ({"missing": 2.0}, "--missing"),
        ({"resolution": 0.0}, "--resolution"),
        ({"modalities": ("CT",)}, "modalities"),
        ({"tables_only": True, "model_space": "T1w"}, "--tables-only"),
        ({"stripped": 0.5}, "with --model-space T1w"),
        ({"stripped": 1.5, "model_space": "T1w"}, "--stripped is 1.5"),
        ({"modalities": ("FLAIR",), "model_space": "T1w"}, "needs the T1w"),
    ],
)
def test_a_design_that_cannot_be_is_refused(wrong, word):
    with pytest.raises(BadConfiguration, match=word):
        Design(**wrong)


def test_the_fingerprint_follows_the_design():
    assert Design().fingerprint == Design(modalities=("SWI", "T1w", "FLAIR")).fingerprint
    assert len({design.fingerprint for design in (Design(), Design(seed=2), Design(gap_sd=3), Design(anatomies="x"))}) == 4
    assert differences(Design(seed=2), Design().record()) == ["seed: 1 there, 2 here"]

"""All stages of the app on a skeleton: what is made, in which order, and what is made again when something changes."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from brainage_bids.bids.reuse import Reused
from brainage_bids.bids.sink import sidecar_path
from brainage_bids.models.needs import Age
from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.workflows import predict
from brainage_bids.workflows.stage import Output, Stage, in_order, those_that_need

T1W = ["structure", "template", "volumes", "quality", "arrays", "figures"]
MODEL = ["model-volumes", "ages"]
ALL = ["structure", "FLAIR", "swi", *T1W[1:], *MODEL]


def without(names, *left_out):
    return [name for name in names if name not in left_out]


def change_bytes(skeleton, modality):
    skeleton.session.scans[modality].path.write_text("other bytes")


CHANGES = {
    "nothing": (lambda s: None, []),
    "T1w": (lambda s: change_bytes(s, "T1w"), ALL),
    "FLAIR": (lambda s: change_bytes(s, "FLAIR"), ["FLAIR"]),
    "age": (lambda s: s.change(age=51.0), ["model-volumes", "ages"]),
    "age unknown": (lambda s: s.change(age=None), ["model-volumes", "ages"]),
    "flags": (lambda s: s.change(flags=("age_censored",)), ["ages"]),
    "sex": (lambda s: s.change(sex="M"), []),
    "site": (lambda s: s.change(site="elsewhere"), []),
    "row of the quality table": (lambda s: s.changes.update(quality={"revision": "raised"}), ["quality", "ages"]),
    "row of the volumes": (lambda s: s.changes.update(volumes={"revision": "raised"}), ["volumes", "quality", *MODEL]),
    "figures": (lambda s: s.changes.update(figures={"revision": "raised"}), ["figures"]),
    "arrays": (lambda s: s.changes.update(arrays={"revision": "raised"}), ["arrays"]),
    "model": (lambda s: s.changes.update({"model-volumes": {"revision": "another card"}}), ["model-volumes", "ages"]),
    "file moved": (lambda s: s.session.scans["T1w"].path.rename(s.plan.bids_dir / "moved.nii") and moved(s), []),
}


def moved(skeleton):
    t1w = replace(skeleton.session.scans["T1w"], path=skeleton.plan.bids_dir / "moved.nii")
    skeleton.change(scans=dict(skeleton.session.scans) | {"T1w": t1w})


def test_everything_is_made_once_and_a_rerun_writes_nothing(skeleton):
    assert skeleton.run() == ALL and skeleton.failures == []
    before = skeleton.files()
    assert skeleton.run() == [] and skeleton.files() == before


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_anew_what_reads_it_and_nothing_else(skeleton, change):
    skeleton.run()
    before = skeleton.files()
    apply, expected = CHANGES[change]
    apply(skeleton)
    assert skeleton.run() == expected
    touched = {
        output.path(skeleton.plan.out_dir, skeleton.session) for s in skeleton.stages() if s.name in expected for output in s.outputs
    }
    touched |= {sidecar_path(path) for path in touched}
    assert {path for path, time in skeleton.files().items() if before.get(path) != time} <= set(map(str, touched))
    assert skeleton.run() == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"random_seed": 2}, ALL),
        ({"skull_strip": "force"}, ALL),
        ({"sloppy": True}, without(ALL, "figures")),
        ({"omp_nthreads": 2, "nprocs": 3, "precision": "bfloat16", "device": "cpu", "phenotype": ("x.tsv",)}, []),
    ],
)
def test_settings_that_are_used_decide(skeleton, settings, expected):
    skeleton.run()
    assert skeleton.run(**settings) == expected and skeleton.run() == []


def test_a_sloppy_run_has_no_pictures_and_leaves_none_of_another_run(skeleton):
    skeleton.run()
    assert skeleton.path("figures", desc="mask").is_file()
    skeleton.run(sloppy=True)
    assert not list((skeleton.plan.out_dir / "sub-1" / "figures").glob("*T1w*"))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("xfm_forward", ALL),
        ("dseg_lookup", ALL),
        ("t1w_mni_affine", ["template", "figures"]),
        ("qc", ["quality", "ages"]),
        ("brainage", ["ages"]),
    ],
)
def test_a_file_that_is_missing_is_made_and_what_follows_from_it(skeleton, key, expected):
    skeleton.run()
    skeleton.path(key).unlink()
    assert skeleton.run() == expected and skeleton.run() == []
    assert skeleton.path(key).is_file()


def test_a_missing_sidecar_of_the_ages_costs_the_predictions(skeleton):
    skeleton.run()
    sidecar_path(skeleton.path("brainage")).unlink()
    assert skeleton.run() == ["model-volumes", "ages"]


def test_a_flair_that_comes_later_is_processed_alone(skeleton):
    scans = skeleton.session.scans
    skeleton.change(scans={"T1w": scans["T1w"]})
    assert skeleton.run() == without(ALL, "FLAIR", "swi")
    skeleton.change(scans=scans)
    assert skeleton.run() == ["FLAIR", "swi"]


def test_outputs_of_an_earlier_version_are_made_anew(skeleton, caplog):
    caplog.set_level("INFO", "brainage")
    path = sidecar_path(skeleton.path("preproc"))
    for key in ("preproc", "mask", "brainage"):
        skeleton.path(key).parent.mkdir(parents=True, exist_ok=True)
        skeleton.path(key).write_text("old")
    path.write_text(json.dumps({"Fingerprint": "0" * 64}))
    assert skeleton.run() == ALL
    assert "sub-1: structure was made from other data, with other settings or by another version" in caplog.text
    assert skeleton.path("brainage").read_text() == ""


def test_precomputed_files_stand_in_for_the_scan(skeleton, tmp_path):
    skeleton.run()
    files = {"preproc": skeleton.scan("T1w", "theirs").path, "mask": skeleton.scan("T1w", "mask").path}
    scratch = skeleton.plan
    skeleton.plan = replace(scratch, precomputed={"sub-1": Reused("theirs", tmp_path, files)})
    assert skeleton.run() == ALL
    change_bytes(skeleton, "T1w")  # which is not read
    assert skeleton.run() == []
    files["mask"].write_text("another")
    assert skeleton.run() == ALL
    skeleton.plan = scratch
    assert skeleton.run() == ALL


def test_every_session_is_processed_by_itself(skeleton):
    second = replace(skeleton.session, session_id="ses-2", scans={"T1w": skeleton.scan("T1w", "second")})
    skeleton.sessions = (replace(skeleton.session, session_id="ses-1"), second)
    assert skeleton.run() == [*ALL, *without(ALL, "FLAIR", "swi")]
    second.scans["T1w"].path.write_text("other bytes")
    skeleton.failing["structure"] = UnusableInput("no brain")
    assert skeleton.run() == ["structure"]
    assert [(failure.session_id, failure.message) for failure in skeleton.failures] == [("ses-2", "no brain")]
    assert Output("brainage").path(skeleton.plan.out_dir, skeleton.session).is_file()
    assert not Output("brainage").path(skeleton.plan.out_dir, second).exists()


def toy(skeleton, **fields):
    stage = Stage("relevance", ("template", "model-volumes"), (Output("figures", (("desc", "toy"),)),), ("random_seed",), 1, print)
    skeleton.more = [replace(stage, **fields)]


def test_a_stage_is_added_as_data(skeleton):
    skeleton.run()
    toy(skeleton)
    assert skeleton.run() == ["relevance"] and skeleton.path("figures", desc="toy").is_file()
    assert skeleton.run() == []
    toy(skeleton, revision=2)
    assert skeleton.run() == ["relevance"] and skeleton.run() == []
    skeleton.changes["template"] = {"revision": "raised"}
    assert skeleton.run() == ["template", "figures", "relevance"]
    skeleton.failing["model-volumes"] = UnusableInput("no age")
    skeleton.changes["model-volumes"] = {"revision": "raised"}
    assert skeleton.run() == ["model-volumes"] and not skeleton.path("figures", desc="toy").exists()


def models(monkeypatch, tmp_path, **contracts):
    """Models of the run: name to the keys of the images that each looks at."""
    asked = []
    for name, keys in contracts.items():
        inputs = tuple(SimpleNamespace(key=key, modality=key.rpartition("_")[2] if "packed" in key else "T1w") for key in keys)
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.toml").write_text(name)
        kind = "resnet" if keys else "gpr"
        card = SimpleNamespace(name=name, kind=kind, contracts=inputs, tables=(), outputs=(Age(),), gives_age=True)
        one = SimpleNamespace(folder=SimpleNamespace(path=folder, card=card), modalities=frozenset(one.modality for one in inputs))
        one.everyone = lambda one=one: (one,)
        asked.append(one)
    monkeypatch.setattr(predict, "models_of", lambda plan: tuple(asked))


def test_another_model_is_predicted_alone(skeleton, monkeypatch, tmp_path):
    models(monkeypatch, tmp_path, one=["modulated_GM"])
    skeleton.run()
    models(monkeypatch, tmp_path, one=["modulated_GM"], two=["packed_mni_T1w"], three=[])
    assert skeleton.run() == ["model-two", "model-three", "ages"]
    (tmp_path / "models" / "two" / "model.toml").write_text("new weights")
    assert skeleton.run() == ["model-two", "ages"]
    assert skeleton.run(device="cpu") == ["model-one", "model-two", "ages"]  # networks alone look at it


@pytest.mark.parametrize(
    ("revised", "expected"),
    [
        ("template", ["template", "figures", "model-one", "ages"]),
        ("arrays", ["arrays", "model-two", "ages"]),
        ("quality", ["quality", "ages"]),
    ],
)
def test_a_model_is_asked_again_when_its_own_images_change(skeleton, monkeypatch, tmp_path, revised, expected):
    models(monkeypatch, tmp_path, one=["modulated_GM"], two=["packed_mni_T1w"], three=[])
    skeleton.run()
    skeleton.changes[revised] = {"revision": "raised"}
    assert skeleton.run() == expected


def test_what_looks_at_a_flair_waits_for_it_and_goes_on_without_it(skeleton, monkeypatch, tmp_path):
    models(monkeypatch, tmp_path, one=["packed_mni_T1w", "packed_mni_FLAIR"], two=["modulated_GM"])
    made = skeleton.run()
    assert made.index("FLAIR") < made.index("model-one") < made.index("ages")
    change_bytes(skeleton, "FLAIR")
    assert skeleton.run() == ["FLAIR", "model-one", "ages"]
    change_bytes(skeleton, "swi")
    assert skeleton.run() == ["swi"]
    skeleton.failing["FLAIR"] = UnusableInput("cut short")
    skeleton.session.scans["FLAIR"].path.write_text("cut short")
    assert skeleton.run() == ["FLAIR", "model-one", "ages"]
    assert [(failure.modality, failure.stage) for failure in skeleton.failures] == [("FLAIR", "FLAIR: read")]


def test_a_session_without_the_flair_of_a_model_has_its_row(skeleton, monkeypatch, tmp_path):
    models(monkeypatch, tmp_path, one=["packed_mni_FLAIR"])
    skeleton.change(scans={"T1w": skeleton.session.scans["T1w"]})
    assert skeleton.run()[-2:] == ["model-one", "ages"]


def test_a_model_that_fails_leaves_the_rows_of_the_others(skeleton, monkeypatch, tmp_path):
    models(monkeypatch, tmp_path, one=["modulated_GM"], two=[])
    skeleton.failing["model-one"] = UnusableInput("no number")
    assert skeleton.run()[-3:] == ["model-one", "model-two", "ages"] and set(skeleton.entries()) == {"two"}
    assert [failure.message for failure in skeleton.failures] == ["no number"]
    del skeleton.failing["model-one"]
    assert skeleton.run() == ["model-one", "ages"] and set(skeleton.entries()) == {"one", "two"}


def test_without_any_prediction_there_is_no_table_of_ages(skeleton, monkeypatch, tmp_path):
    models(monkeypatch, tmp_path, one=["modulated_GM"], two=[])
    skeleton.failing |= dict.fromkeys(("model-one", "model-two"), UnusableInput("no number"))
    assert skeleton.run()[-2:] == ["model-one", "model-two"]
    assert len(skeleton.failures) == 2 and not skeleton.path("brainage").exists()


def test_models_are_told_apart_by_name_and_one_that_is_named_twice_is_one(skeleton, tmp_path):
    from brainage_bids.models.registry import embedded_dir

    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (embedded_dir() / "volumes").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    twice = ("volumes", str(embedded_dir() / "volumes"))
    assert len(predict.models_of(replace(skeleton.plan, settings=replace(skeleton.plan.settings, models=twice)))) == 1
    with pytest.raises(BadConfiguration, match="both called volumes"):
        predict.models_of(replace(skeleton.plan, settings=replace(skeleton.plan.settings, models=("volumes", str(copy)))))


@pytest.mark.parametrize("name", ALL)
def test_a_raised_revision_redoes_a_stage_and_what_follows_from_it(skeleton, name):
    skeleton.run()
    skeleton.changes[name] = {"revision": "raised"}
    follow = {stage.name for stage in those_that_need(name, in_order(skeleton.stages()))}
    assert skeleton.run() == [each for each in ALL if each == name or each in follow]
    assert skeleton.run() == []


@pytest.mark.parametrize("name", ALL)
def test_every_file_of_every_stage_is_missed(skeleton, name):
    skeleton.run()
    stage = next(stage for stage in skeleton.stages() if stage.name == name)
    for output in stage.outputs:
        path = output.path(skeleton.plan.out_dir, skeleton.session)
        (sidecar_path(path) if output.entry else path).unlink()
        assert name in skeleton.run() and skeleton.run() == []


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("first", [True, False])
def test_killed_in_any_stage_a_rerun_ends_the_same(skeleton, name, first):
    skeleton.run()
    whole = set(skeleton.files())
    if first:
        shutil.rmtree(skeleton.plan.out_dir)
    else:
        skeleton.changes[name] = {"revision": "raised"}
    skeleton.failing[name] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        skeleton.run()
    del skeleton.failing[name]
    made = skeleton.run()
    assert made[0] == name and set(skeleton.files()) == whole and skeleton.run() == []


def test_every_stage_leaves_files_of_its_own(skeleton):
    paths = [
        (output.path(skeleton.plan.out_dir, skeleton.session), output.entry) for stage in skeleton.stages() for output in stage.outputs
    ]
    assert len(set(paths)) == len(paths)
    last = [sidecar_path(stage.outputs[-1].path(skeleton.plan.out_dir, skeleton.session)) for stage in skeleton.stages()]
    assert len(set(last)) == len(last) - 1  # a prediction lies in the sidecar of the table of ages

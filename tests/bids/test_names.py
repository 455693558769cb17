import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainage_bids.bids import names

LABELS = st.text("abcXYZ019+", min_size=1, max_size=8)
FREE = {"label": "GM", "res": "2", "desc": "mask", "model": "gpr36", "modality": "swi", "image": "FLAIR"}
FREE |= {"synthesised": "cbv", "suffix": "relevance"}


def entities_of(key: str) -> dict[str, str]:
    wanted = set(re.findall(r"{(\w+)}", names.io_spec()["outputs"][key]["name"]))
    return {entity: value for entity, value in FREE.items() if entity in wanted}


def test_names_are_the_documented_ones():
    cases = {
        ("preproc", ()): "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz",
        ("t1w_mni", (("res", "2"),)): "sub-01/anat/sub-01_space-MNI152NLin2009aSym_res-2_desc-preproc_T1w.nii.gz",
        ("modulated", (("label", "WM"),)): "sub-01/anat/sub-01_space-MNI152NLin2009aSym_res-1p5_label-WM_desc-modulated_probseg.nii.gz",
        ("xfm_inverse", ()): "sub-01/anat/sub-01_from-MNI152NLin2009aSym_to-T1w_mode-image_xfm.h5",
        ("volumes_atlas", ()): "sub-01/anat/sub-01_seg-BrainageAseg_desc-volumes_morph.tsv",
        ("other_preproc", (("modality", "FLAIR"),)): "sub-01/anat/sub-01_space-T1w_desc-preproc_FLAIR.nii.gz",
        ("other_mni", (("modality", "swi"),)): "sub-01/anat/sub-01_space-MNI152NLin2009aSym_res-2_desc-preproc_swi.nii.gz",
        ("other_qc", (("modality", "swi"),)): "sub-01/anat/sub-01_desc-qc_swi.tsv",
        ("figures", (("desc", "mask"),)): "sub-01/figures/sub-01_desc-mask_T1w.svg",
    }  # fmt: skip
    for (key, entities), expected in cases.items():
        assert names.derivative_path("/o", key, "sub-01", **dict(entities)).as_posix() == "/o/" + expected
    path = names.derivative_path("/o", "figures", "sub-01", "ses-2", desc="age", extension=".png")
    assert path.as_posix() == "/o/sub-01/figures/sub-01_ses-2_desc-age_T1w.png"
    assert names.derivative_path("/o", "qc", "sub-01", "ses-2").as_posix() == "/o/sub-01/ses-2/anat/sub-01_ses-2_desc-qc_T1w.tsv"


@pytest.mark.parametrize("key", list(names.io_spec()["outputs"]))
@pytest.mark.parametrize("session", [None, "ses-b"])
def test_what_is_written_is_found_and_by_its_own_key_only(tmp_path, key, session):
    path = names.derivative_path(tmp_path, key, "sub-01", session, **entities_of(key))
    path.parent.mkdir(parents=True)
    path.touch()
    path.with_name("." + path.name).touch()
    found = names.find_derivatives(tmp_path, key)
    assert [(item.path, item.participant_id, item.session_id) for item in found] == [(path, "sub-01", session)]
    assert {entity: found[0].entities[entity] for entity in entities_of(key)} == entities_of(key)
    others = [other for other in names.io_spec()["outputs"] if other != key]
    assert [other for other in others if names.find_derivatives(tmp_path, other)] == []


@given(subject=LABELS, session=st.none() | LABELS)
def test_a_name_parses_back(subject, session):
    path = names.derivative_path("o", "modulated", f"sub-{subject}", session and f"ses-{session}", label="CSF")
    parsed = names.parse_name(path.name)
    assert (parsed.entities["sub"], parsed.entities.get("ses"), parsed.suffix, parsed.extension) == (subject, session, "probseg", ".nii.gz")


def test_find_filters_by_person_visit_and_entity(tmp_path):
    for person, session, label in (("sub-1", "ses-1", "GM"), ("sub-1", "ses-2", "GM"), ("sub-11", "ses-1", "GM"), ("sub-1", "ses-1", "WM")):
        path = names.derivative_path(tmp_path, "probseg", person, session, label=label)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    stray = tmp_path / "sub-1" / "ses-1" / "anat" / "sub-2_ses-1_label-GM_probseg.nii.gz"
    stray.touch()

    def find(**wanted):
        return [(d.participant_id, d.session_id, d.entities["label"]) for d in names.find_derivatives(tmp_path, "probseg", **wanted)]

    assert find() == [("sub-1", "ses-1", "GM"), ("sub-1", "ses-1", "WM"), ("sub-1", "ses-2", "GM"), ("sub-11", "ses-1", "GM")]
    assert find(participant_id="sub-1", session_id="ses-1") == [("sub-1", "ses-1", "GM"), ("sub-1", "ses-1", "WM")]
    assert find(label="WM") == [("sub-1", "ses-1", "WM")]
    assert find(participant_id="sub-9") == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("nonsense", "sub-01"), "nonsense"),
        (("preproc", "01"), "'01'"),
        (("preproc", "sub-0/1"), "sub-0/1"),
        (("preproc", "sub-01", "1"), "'1'"),
    ],
)
def test_wrong_names_are_refused(arguments, word):
    with pytest.raises(ValueError, match=re.escape(word)):
        names.derivative_path("o", *arguments)


def test_wrong_entities_are_refused():
    for entities, word in (({}, "label"), ({"label": "bone"}, "bone"), ({"label": "GM", "res": "1"}, "res")):
        with pytest.raises(ValueError, match=word):
            names.derivative_path("o", "probseg", "sub-01", None, **entities)
    with pytest.raises(ValueError, match=r"\.\./x"):
        names.derivative_path("o", "figures", "sub-01", None, desc="../x")


@pytest.mark.parametrize("name", ["sub-01T1w", "sub-01_sub-02_T1w.nii", "README", "sub_T1w.nii", "sub-_T1w.nii", "sub-01_T1 w.nii"])
def test_names_outside_the_standard_do_not_parse(name):
    assert names.parse_name(name) is None

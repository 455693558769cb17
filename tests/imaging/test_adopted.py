"""Tissues and masks of other apps."""

import numpy as np
import pytest

from brainage_bids.imaging.adopted import brain_of, probability, tissue_labels
from brainage_bids.records import UnusableInput

TISSUES = np.random.default_rng(1).integers(0, 4, (12, 11, 10))
"""0 outside, 1 GM, 2 WM, 3 CSF."""


def maps(certainty=0.8):
    rest = (1 - certainty) / 2
    return {
        name: np.where(TISSUES == code, certainty, np.where(TISSUES > 0, rest, 0)).astype(np.float32)
        for code, name in enumerate(("GM", "WM", "CSF"), start=1)
    }


@pytest.mark.parametrize(
    "codes", [(0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2), (0, 10, 250, 40)], ids=["fmriprep", "old-fmriprep", "other", "large"]
)
def test_labels_get_our_codes_whatever_theirs_are(codes):
    assert np.array_equal(tissue_labels(np.array(codes)[TISSUES], maps()), TISSUES)


def test_labels_stay_where_the_maps_would_say_otherwise():
    labels = TISSUES.copy()
    labels[0, 0, 0] = labels[5, 5, 5] = 2
    assert np.array_equal(tissue_labels(labels, maps()), labels)


@pytest.mark.parametrize("labels", [None, (TISSUES > 0).astype(int), np.where(TISSUES == 3, 0, TISSUES), TISSUES * 10 + np.arange(10)])
def test_without_three_labels_for_three_tissues_the_highest_map_decides(labels):
    made = tissue_labels(labels, maps())
    assert made.dtype == np.uint8 and np.array_equal(made, TISSUES)


def test_what_is_no_probability_is_refused_by_name():
    assert np.array_equal(probability(np.array([0, 0.5, 1.01, -0.01, np.nan]), "x"), [0, 0.5, 1, 0, 0])
    for values in ([0, 255], [0, 0], [-3, 1], [np.nan, np.nan]):
        with pytest.raises(UnusableInput, match="sub-1_label-GM_probseg.nii.gz"):
            probability(np.array(values, float), "sub-1_label-GM_probseg.nii.gz")


def test_a_mask_that_is_none_is_refused_by_name():
    for values in ([0, 0], [1, 1]):
        with pytest.raises(UnusableInput, match="mask.nii"):
            brain_of(np.array(values, float), "mask.nii")

import itertools
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.selection import Grid, choose, read_grid


@pytest.mark.parametrize(
    ("files", "chosen", "reason"),
    [
        ({"": 1.0}, "", "only T1w"),
        ({"run-1_": 1.0, "run-2_": 1.0}, "run-2_", "last run of 2 T1w"),
        ({"run-2_": 1.0, "run-10_": 1.0}, "run-10_", "last run of 2 T1w"),
        ({"run-1_": 0.8, "run-2_": 1.0}, "run-1_", "highest resolution of 2 T1w"),
        ({"rec-norm_": 1.2, "": 0.8}, "rec-norm_", "normalised reconstruction of 2 T1w"),
        ({"ce-gd_rec-norm_": 0.5, "": 1.0}, "", "no contrast agent of 2 T1w"),
        ({"ce-none_": 0.8, "": 1.0}, "ce-none_", "highest resolution of 2 T1w"),
        ({"ce-no_": 1.0, "ce-gd_": 0.8}, "ce-no_", "no contrast agent of 2 T1w"),
        ({"ce-noGd_": 0.8, "ce-unenhanced_": 0.9, "ce-none1_": 0.5}, "ce-noGd_", "highest resolution of 3 T1w"),
        ({"ce-pre_": 1.0, "ce-post_": 0.8}, "ce-pre_", "no contrast agent of 2 T1w"),
        ({"rec-NORM_": 1.2, "rec-nonorm_": 0.8}, "rec-NORM_", "normalised reconstruction of 2 T1w"),
        ({"echo-1_": 0.8, "echo-2_": 0.8, "rec-RMS_": 1.0}, "rec-RMS_", "combined image of 3 T1w"),
        ({"acq-rms_": 1.0, "acq-tfl_echo-1_": 1.0}, "acq-rms_", "combined image of 2 T1w"),
        ({"rec-norm_echo-1_": 1.0, "rec-RMS_": 1.0}, "rec-RMS_", "combined image of 2 T1w"),
        ({"chunk-1_": 0.7, "chunk-2_": 0.7, "rec-stitched_": 1.0}, "rec-stitched_", "combined image of 3 T1w"),
        ({"inv-1_": 0.7, "inv-2_": 0.7, "acq-uni_": 1.0}, "acq-uni_", "combined image of 3 T1w"),
        (
            {"echo-10_": 1.0, "echo-2_": 1.0},
            "echo-2_",
            "first echo of 2 T1w; a single echo, as there is no image that combines them",
        ),
        (
            {"run-1_echo-1_": 1.0, "run-1_echo-2_": 1.0, "run-2_echo-1_": 1.0, "run-2_echo-2_": 1.0},
            "run-2_echo-1_",
            "last run of 4 T1w; a single echo, as there is no image that combines them",
        ),
        ({"chunk-1_": 1.0}, "chunk-1_", "only T1w; one chunk, as there is no image of the whole"),
        ({"rec-ND_": 1.0, "rec-a_": 1.0}, "rec-a_", "distortion corrected of 2 T1w"),
        ({"acq-mprageND_": 1.0, "rec-nd_": 1.0, "rec-DIS3D_": 1.0}, "rec-DIS3D_", "distortion corrected of 3 T1w"),
        ({"acq-BRAND_": 0.8, "": 1.0}, "acq-BRAND_", "highest resolution of 2 T1w"),
        ({"acq-localizer_": 0.5, "": 1.0}, "", "no scout of 2 T1w"),
        ({"acq-AAHeadScout_": 0.5, "ce-gd_": 1.0}, "ce-gd_", "no scout of 2 T1w"),
        ({"acq-velocity_": 0.5, "": 1.0}, "acq-velocity_", "highest resolution of 2 T1w"),
        ({"acq-b_": 1.0, "acq-a_": 1.0}, "acq-a_", "first name of 2 T1w"),
        ({"acq-a_": None, "ce-gd_": 3.0}, "ce-gd_", "readable header of 2 T1w"),
        ({"run-1_": None, "run-2_": None}, "run-2_", "last run of 2 T1w; the file is empty"),
        ({"run-1_": 1.0, "run-2_": 1.0, "run-3_": 1.0}, "run-3_", "last run of 3 T1w"),
    ],
)
def test_the_rule_and_its_reason(make_dataset, files, chosen, reason):
    root = make_dataset({f"sub-1_{entities}T1w.nii.gz": zoom for entities, zoom in files.items()})
    paths = [root / f"sub-1_{entities}T1w.nii.gz" for entities in files]
    for order in itertools.permutations(paths):
        choice = choose(order, "T1w")
        assert (choice.path.name, choice.reason) == (f"sub-1_{chosen}T1w.nii.gz", reason)
        assert sorted([choice.path, *(path for path, _ in choice.others)]) == sorted(paths)


WHOLE = ((176, 240, 256), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("modality", ["T1w", "FLAIR", "swi"])
@pytest.mark.parametrize(
    ("shape", "voxel", "reason"),
    [
        ((400, 400, 80), (0.5, 0.5, 0.5), "widest field of view"),  # a slab over the hippocampi
        ((400, 60, 400), (0.5, 0.5, 0.5), "widest field of view"),
        ((448, 448, 100), (0.5, 0.5, 1.0), "widest field of view"),
        ((512, 512, 30), (0.4, 0.4, 5.0), "thinnest slices"),  # voxels of 0.8 mm³
        ((352, 480, 512, 4), (0.5, 0.5, 0.5), "single volume"),
        ((352, 480, 512), (2e-3, 2e-3, 2e-3), "widest field of view"),  # of a small animal
    ],
)
def test_a_whole_head_goes_before_what_is_finer_and_less(tmp_path, write_header, modality, shape, voxel, reason):
    less = write_header(tmp_path / f"sub-1_acq-a_rec-norm_run-9_{modality}.nii.gz", shape, voxel)
    whole = write_header(tmp_path / f"sub-1_acq-b_run-1_{modality}.nii.gz", *WHOLE)
    for order in ((less, whole), (whole, less)):
        choice = choose(order, modality)
        assert choice.path == whole and choice.reason.startswith(f"{reason} of 2 {modality}")
    assert choose([less], modality).path == less


def test_a_slab_without_agent_goes_after_a_head_with_it(tmp_path, write_header):
    slab = write_header(tmp_path / "sub-1_T1w.nii", (400, 400, 80), (0.5, 0.5, 0.5))
    whole = write_header(tmp_path / "sub-1_ce-gd_T1w.nii", *WHOLE)
    assert choose([slab, whole], "T1w").path == whole


def test_each_image_that_is_left_is_told_its_own_reason(tmp_path, write_header):
    files = {"acq-hipp_": ((400, 400, 80), (0.5, 0.5, 0.5)), "ce-gd_": WHOLE, "": WHOLE, "rec-x_": ((100, 120, 120), (2.0, 2.0, 2.0))}
    paths = {name: write_header(tmp_path / f"sub-1_{name}T1w.nii", *grid) for name, grid in files.items()}
    choice = choose(list(paths.values()), "T1w")
    words = {"rec-x_": "highest resolution", "ce-gd_": "no contrast agent", "acq-hipp_": "widest field of view"}
    assert choice.others == tuple((paths[name], f"{word} of 4 T1w") for name, word in words.items())
    assert (choice.path, choice.reason) == (paths[""], "highest resolution of 4 T1w")


@pytest.mark.parametrize("kind", ["RGB", "complex64"])
def test_colours_and_complex_numbers_go_last(tmp_path, write_header, kind):
    odd = write_header(tmp_path / "sub-1_acq-a_rec-norm_T1w.nii", *WHOLE, kind=kind)
    plain = write_header(tmp_path / "sub-1_acq-b_T1w.nii", *WHOLE)
    choice = choose([odd, plain], "T1w")
    assert (choice.path, choice.reason) == (plain, "plain intensities of 2 T1w")


def test_of_heads_the_finer_is_taken_however_wide_the_other(tmp_path, write_header):
    wide = write_header(tmp_path / "sub-1_acq-a_T1w.nii", (256, 256, 256), (1.0, 1.0, 1.0))
    fine = write_header(tmp_path / "sub-1_acq-b_T1w.nii", (224, 320, 320), (0.8, 0.8, 0.8))
    assert choose([wide, fine], "T1w").reason == "highest resolution of 2 T1w"


def test_lengths_in_metres_are_lengths(tmp_path, write_header):
    path = write_header(tmp_path / "sub-1_acq-m_T1w.nii", (176, 240, 256), (1e-3, 1e-3, 1e-3), units="meter")
    assert read_grid(path).narrowest_mm == pytest.approx(176)


def test_links_that_lead_nowhere_are_told(tmp_path):
    link = tmp_path / "sub-1_T1w.nii.gz"
    link.symlink_to(tmp_path / "annex" / "missing")
    assert "datalad get" in choose([link], "T1w").reason
    with pytest.raises(ValueError, match="no image"):
        choose([], "T1w")


@pytest.mark.parametrize("content", [b"", b"x", b"\x1f\x8b", b"\0" * 348, b"\xff" * 1000])
@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_headers_that_cannot_be_read_have_no_volume(tmp_path, content, extension):
    path = tmp_path / f"x{extension}"
    path.write_bytes(content)
    assert read_grid(path) is None


@pytest.mark.parametrize("zooms", [(1.0, np.nan, 1.0), (1.0, np.inf, 1.0)])
def test_voxels_that_make_no_sense_have_no_volume(tmp_path, zooms):
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), None)
    image.header["pixdim"][1:4] = zooms
    nib.save(image, tmp_path / "x.nii")
    assert read_grid(tmp_path / "x.nii") is None


def test_the_grid_of_a_header(make_dataset):
    path: Path = make_dataset({"x.nii.gz": 1.5}) / "x.nii.gz"
    assert read_grid(path) == Grid((2, 2, 2), (1.5, 1.5, 1.5), 1)


def test_what_is_no_file_is_told_as_what_it_is(tmp_path):
    path = tmp_path / "sub-1_T1w.nii.gz"
    os.mkfifo(path)
    assert choose([path], "T1w").reason == "only T1w; it is a named pipe and no regular file"

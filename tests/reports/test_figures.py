import re
import time
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.reports import figures, svg

NAMES = ("mask", "tissues", "registration")


def read(path):
    return ElementTree.parse(path).getroot()


def tag(name):
    return f"{{{svg.NAMESPACE}}}{name}"


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_needs_no_other_file_and_has_a_name(drawn, name):
    root = read(drawn / f"{name}.svg")
    assert root.find(tag("title")).text and "left of the person" in root.find(tag("desc")).text
    assert {node.get("href", "")[:11] for node in root.iter(tag("image"))} == {"data:image/"}
    assert not list(root.iter(tag("script")))


@pytest.mark.parametrize("name", NAMES)
def test_sides_and_places_are_written(drawn, name):
    words = [node.text for node in read(drawn / f"{name}.svg").iter(tag("text"))]
    assert words.count("L") == words.count("R") == 2 and words.count("P") == words.count("A") == 1
    assert sum(bool(re.fullmatch(r"[xyz] −?\d+", word)) for word in words) == 20


def test_the_same_images_give_the_same_bytes(tmp_path, head, drawn):
    again = figures.draw_tissues(head["t1w"], head["dseg"], tmp_path / "again.svg")
    assert again.read_bytes() == (drawn / "tissues.svg").read_bytes()


def test_paths_are_read_as_images_are(tmp_path, head, drawn):
    for name in ("t1w", "mask"):
        nib.save(head[name], tmp_path / f"{name}.nii.gz")
    figures.draw_mask(tmp_path / "t1w.nii.gz", tmp_path / "mask.nii.gz", tmp_path / "mask.svg")
    assert (tmp_path / "mask.svg").read_bytes() == (drawn / "mask.svg").read_bytes()


def edges(path):
    return [node.get("d") for node in read(path).iter(tag("path"))]


def test_tissues_have_three_borders_and_the_mask_one(drawn):
    assert [len(edges(drawn / f"{name}.svg")) for name in NAMES] == [1, 3, 2]
    assert all(d.count("M") >= 15 for name in NAMES for d in edges(drawn / f"{name}.svg")[:1])


def test_an_empty_mask_is_drawn_without_a_line(tmp_path, head):
    empty = nib.Nifti1Image(np.zeros(head["mask"].shape, np.uint8), head["mask"].affine)
    assert edges(figures.draw_mask(head["t1w"], empty, tmp_path / "a.svg")) == ["M0 0"]


def test_values_that_are_not_numbers_do_not_stop_a_figure(tmp_path, head):
    data = head["t1w"].get_fdata(dtype=np.float32).copy()
    data[:, :20] = np.nan
    figures.draw_mask(nib.Nifti1Image(data, head["t1w"].affine), head["mask"], tmp_path / "a.svg")
    assert edges(tmp_path / "a.svg")[0].count("M") >= 15


def test_images_on_different_grids_are_refused(tmp_path, head):
    shifted = head["mask"].affine.copy()
    shifted[0, 3] += 3
    with pytest.raises(ValueError, match="share one grid"):
        figures.draw_mask(head["t1w"], nib.Nifti1Image(np.asarray(head["mask"].dataobj), shifted), tmp_path / "a.svg")
    with pytest.raises(ValueError, match="share one grid"):
        figures.draw_tissues(head["t1w"], head["dseg"].slicer[1:], tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()


def test_maps_given_for_the_lines_replace_those_of_the_template(tmp_path, head, drawn):
    maps = {"WM": nib.Nifti1Image((np.asarray(head["dseg"].dataobj) == 2).astype(np.float32), head["dseg"].affine), "brain": head["mask"]}
    figures.draw_registration(head["t1w"], head["t1w"], tmp_path / "a.svg", outlines=maps)
    given, guessed = edges(tmp_path / "a.svg"), edges(drawn / "registration.svg")
    assert given[1] != guessed[1]
    assert all(given)


def test_the_set_of_a_person_is_drawn_in_six_seconds_and_small(tmp_path):
    """A head of 1 mm with more noise than scans have (it costs bytes); processor time, so that a busy machine does not fail the test."""
    rng = np.random.default_rng(1)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    x, y, z = np.ogrid[-96:96, -120:120, -110:110]
    radius = np.sqrt((x / 70) ** 2 + (y / 88) ** 2 + (z / 68) ** 2) + 0.06 * np.sin(x / 5) * np.cos(y / 6) * np.sin(z / 5)
    dseg = np.select([radius < 0.7, radius < 0.92, radius < 1], [2, 1, 3], 0).astype(np.uint8)
    t1w = np.choose(dseg, [5, 70, 100, 30]) + rng.normal(0, 6, dseg.shape)
    images = [nib.Nifti1Image(data, affine) for data in (t1w.astype(np.float32), dseg, (dseg > 0).astype(np.uint8))]
    began = time.process_time()
    figures.draw_mask(images[0], images[2], tmp_path / "mask.svg")
    figures.draw_tissues(images[0], images[1], tmp_path / "tissues.svg")
    outlines = {"brain": images[2], "WM": nib.Nifti1Image((dseg == 2).astype(np.uint8), affine)}
    figures.draw_registration(images[0], images[0], tmp_path / "registration.svg", outlines=outlines)
    assert time.process_time() - began < 6
    assert max(path.stat().st_size for path in tmp_path.glob("*.svg")) < 700_000

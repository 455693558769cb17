"""No sidecar holds for a file that it does not describe, and no column is called like an entity of a name."""

import itertools
import json
from importlib.resources import files

import pytest

from brainage_bids.bids.names import derivative_path, parse_name
from brainage_bids.bids.sink import sidecar_path
from brainage_bids.bids.tables import Inheritance

OF_THE_FIELD = {
    ("preproc", "t1w_mni"),
    ("dseg", "aseg"),
    ("dseg", "aseg_lookup"),
    ("dseg_lookup", "aseg"),
    ("dseg_lookup", "aseg_lookup"),
    ("probseg", "modulated"),
    ("probseg", "modulated_smooth"),
    ("volumes", "volumes_atlas"),
}
"""A name and the same in another space or by another segmentation, as fMRIPrep has them; the own sidecar goes first."""


def pybids_entities() -> set[str]:
    """What pybids calls entities in the configs for raw and derived datasets."""
    configs = [json.loads(files("bids").joinpath("layout", "config", f"{name}.json").read_text()) for name in ("bids", "derivatives")]
    return {entity["name"] for config in configs for entity in config["entities"]}


def applies(sidecar, file) -> bool:
    """The inheritance principle: above or beside, the same suffix, no entity that the file lacks."""
    above = file.parent.is_relative_to(sidecar.parent)
    one, two = parse_name(sidecar.name), parse_name(file.name)
    return above and one is not None and two is not None and one.suffix == two.suffix and one.entities.items() <= two.entities.items()


@pytest.mark.parametrize("session", [None, "ses-1"])
def test_a_sidecar_holds_for_files_of_its_own_pattern(tmp_path, output_names, session):
    paths = [(key, derivative_path(tmp_path, key, "sub-01", session, **entities)) for key, entities in output_names]
    strangers = {
        (key, other)
        for (key, path), (other, file) in itertools.permutations(paths, 2)
        if key != "figures" and sidecar_path(path) != sidecar_path(file) and applies(sidecar_path(path), file)
    }
    assert strangers == OF_THE_FIELD


def test_of_names_of_the_field_the_own_sidecar_goes_first(tmp_path, write_outputs):
    read = Inheritance(tmp_path)
    for path in write_outputs(tmp_path, "sub-01", "ses-1"):
        own = sidecar_path(path)
        if own.is_file():
            assert json.loads(own.read_text()).items() <= read.metadata(path).items()


def test_no_column_is_called_like_an_entity_of_a_name(tmp_path, write_outputs):
    known = pybids_entities()
    assert {"model", "modality", "label", "desc"} <= known
    paths = write_outputs(tmp_path, "sub-01", "ses-1") + write_outputs(tmp_path, "sub-02", None)
    long = {path: set(name.long_entities()) | {"suffix", "extension", "datatype"} for path in paths if (name := parse_name(path.name))}
    for sidecar in {sidecar_path(path) for path in paths if sidecar_path(path).is_file()}:
        described = set(json.loads(sidecar.read_text())) & known
        assert all(not described & long[path] for path in paths if applies(sidecar, path)), sidecar.name

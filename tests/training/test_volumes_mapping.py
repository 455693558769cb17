import numpy as np
import pytest

from brainage_bids.models.volumes import STRUCTURES
from brainage_bids.records import BadConfiguration
from brainage_bids.training.volumes_convention import Convention
from brainage_bids.training.volumes_mapping import fit_mapping, read_mapping

SDS = dict.fromkeys((structure.name for structure in STRUCTURES), 0.1)


def maps(n=14, factors=None, errors=None, seed=0):
    generator = np.random.default_rng(seed)
    found = {}
    for number in range(n):
        pairs = {}
        for structure in STRUCTURES:
            theirs = 1e4 * np.exp(generator.normal(0, 0.1))
            ours = theirs / (factors or {}).get(structure.name, 1.0) * np.exp(generator.normal(0, (errors or {}).get(structure.name, 0.01)))
            pairs[structure.name] = (float(ours), float(theirs))
        found[f"map{number}"] = pairs
    return found


def row(mapping, name):
    return next(item for item in mapping.rows if item.structure == name)


def test_factors_come_back():
    mapping = fit_mapping(maps(factors={"thalamus": 1.2}, errors={"thalamus": 0.05}), SDS)
    thalamus = row(mapping, "thalamus")
    assert thalamus.low < 1.2 < thalamus.high
    assert thalamus.scale == pytest.approx(1.2, rel=0.04)
    assert thalamus.sd_log == pytest.approx(0.05, rel=0.4)
    assert thalamus.high - thalamus.low > row(mapping, "caudate").high - row(mapping, "caudate").low
    assert next(item for item in mapping.structures if item.name == "thalamus").scale == thalamus.scale
    assert mapping.errors.shape == (len([item for item in mapping.structures if item.used]) + 1,)


def test_the_geometric_mean():
    two = maps(6, errors=dict.fromkeys(SDS, 0.0))
    for index, pairs in enumerate(two.values()):
        pairs["putamen"] = (1.0, 1.21 if index % 2 else 1.0)
    assert row(fit_mapping(two, SDS), "putamen").scale == pytest.approx(1.1)


def test_bad_transfers_are_left_out_and_why():
    mapping = fit_mapping(maps(factors={"pallidum": 1.7}, errors={"third_ventricle": 0.3}), SDS)
    assert "0.59 times theirs" in row(mapping, "pallidum").reason
    assert "where people differ" in row(mapping, "third_ventricle").reason
    names = {item.name: item.used for item in mapping.structures}
    assert names["pallidum"] is False, "it still belongs to the brain"
    assert "third_ventricle" not in names


def test_few_maps():
    few = maps(6)
    for name in ("map0", "map1"):
        del few[name]["fourth_ventricle"]
    assert row(fit_mapping(few, SDS), "fourth_ventricle").reason == "it is on 4 label maps only"
    for pairs in few.values():
        pairs.pop("fourth_ventricle", None)
    assert row(fit_mapping(few, SDS), "fourth_ventricle").reason == "it is on 0 label maps only"
    with pytest.raises(BadConfiguration, match="5 label maps with each of: cortex"):
        fit_mapping(maps(4), SDS)


def test_a_convention_is_a_further_factor_with_an_error_of_its_own():
    plain = fit_mapping(maps(), SDS)
    shifted = fit_mapping(maps(), SDS, conventions={"cortex": Convention(np.log(0.9), 0.03)})
    scales = [next(item.scale for item in mapping.structures if item.name == "cortex") for mapping in (plain, shifted)]
    assert scales[1] / scales[0] == pytest.approx(0.9)
    assert row(shifted, "cortex").scale == row(plain, "cortex").scale, "what the maps say stays"
    assert row(shifted, "cortex").reliability == pytest.approx(row(plain, "cortex").reliability, abs=0.01), "it is the same for everybody"
    assert shifted.errors[0] == pytest.approx(np.hypot(plain.errors[0], 0.03), rel=0.05)
    np.testing.assert_allclose(shifted.errors[1:-1], plain.errors[1:-1], rtol=0.05)


def paired(n, factors):
    """People whose structures ours finds `factors` times too large where the label maps promised equality."""
    return [
        {name: (theirs * factors.get(name, 1.0), theirs) for name, (_, theirs) in person.items()} for person in maps(n, seed=5).values()
    ]


def test_real_scans_that_contradict_the_maps_take_a_structure_out():
    mapping = fit_mapping(maps(), SDS, paired=paired(5, {"thalamus": 0.7, "fourth_ventricle": 1.1}))
    assert row(mapping, "thalamus").gap == pytest.approx(np.log(0.7), abs=0.05)
    assert "on real scans its share is 0.7" in row(mapping, "thalamus").reason
    assert not next(item for item in mapping.structures if item.name == "thalamus").used
    assert row(mapping, "fourth_ventricle").used and row(mapping, "fourth_ventricle").gap == pytest.approx(np.log(1.1), abs=0.05)
    assert row(fit_mapping(maps(), SDS), "thalamus").gap is None
    scale = next(item.scale for item in fit_mapping(maps(), SDS).structures if item.name == "fourth_ventricle")
    assert next(item.scale for item in mapping.structures if item.name == "fourth_ventricle") == scale, "they only check"


def test_same_maps_same_numbers():
    assert fit_mapping(maps(), SDS).rows == fit_mapping(maps(), SDS).rows


def test_reading_sums_regions(volume_files, tmp_path):
    found = read_mapping(volume_files[1])
    assert set(found) == {f"map{number}" for number in range(8)}
    text = "map\tstructure\tours_mm3\ttheirs_mm3\n"
    text += "a\tLeft-Thalamus\t1\t10\na\tRight-Thalamus\t2\t20\na\tcortex\t5\t6\na\tLeft-Putamen\t3\t4\na\t3rd-Ventricle\t3\t0\n"
    path = tmp_path / "mapping.tsv"
    path.write_text(text)
    assert read_mapping(path) == {"a": {"thalamus": (3.0, 30.0), "cortex": (5.0, 6.0)}}
    path.write_text(text.replace("\t30", "\tx").replace("\t20", "\tmany"))
    with pytest.raises(BadConfiguration, match="a, Right-Thalamus"):
        read_mapping(path)
    path.write_text(text.replace("ours_mm3", "ours"))
    with pytest.raises(BadConfiguration, match="lacks the columns ours_mm3"):
        read_mapping(path)

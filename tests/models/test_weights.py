import numpy as np
import pytest

from brainage_bids.models.weights import describe_arrays, load_arrays, pack_arrays, sha256_of_bytes
from brainage_bids.records import BadConfiguration


@pytest.fixture
def arrays():
    return {"b": np.arange(6, dtype=np.float16).reshape(2, 3), "a": np.array([1.5, -2.0]), "none": np.zeros((0, 4), np.float16)}


@pytest.fixture
def stored(tmp_path, arrays):
    content = pack_arrays(arrays)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    return path, sha256_of_bytes(content)


def test_round_trip(stored, arrays):
    found = load_arrays(*stored, describe_arrays(arrays))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_same_arrays_same_bytes(arrays):
    assert pack_arrays(arrays) == pack_arrays(dict(reversed(arrays.items())))


def test_views_are_stored_as_they_look(tmp_path):
    array = np.arange(6.0).reshape(2, 3).T
    content = pack_arrays({"a": array})
    (tmp_path / "w").write_bytes(content)
    np.testing.assert_array_equal(load_arrays(tmp_path / "w", sha256_of_bytes(content), describe_arrays({"a": array}))["a"], array)


def test_one_flipped_bit_is_fatal(stored, arrays):
    path, digest = stored
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadConfiguration, match="is not the one its card describes"):
        load_arrays(path, digest, describe_arrays(arrays))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda expected: expected.pop("a"), "has a too many"),
        (lambda expected: expected.update(c=expected["a"]), "lacks c"),
        (lambda expected: expected["a"].update(shape=[3]), r"float64 \[2\] instead of float64 \[3\]"),
        (lambda expected: expected["b"].update(dtype="float32"), r"float16 \[2, 3\] instead of float32"),
    ],
)
def test_other_names_shapes_and_types_are_fatal(stored, arrays, change, words):
    expected = describe_arrays(arrays)
    change(expected)
    with pytest.raises(BadConfiguration, match=words):
        load_arrays(*stored, expected)


def test_not_safetensors(tmp_path):
    (tmp_path / "w").write_bytes(b"pickle")
    with pytest.raises(BadConfiguration, match="no safetensors file"):
        load_arrays(tmp_path / "w", sha256_of_bytes(b"pickle"), {})


def test_missing_file(tmp_path):
    with pytest.raises(BadConfiguration, match="cannot be read"):
        load_arrays(tmp_path / "w", "0" * 64, {})

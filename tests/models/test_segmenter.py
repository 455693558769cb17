import numpy as np
import pytest
import torch
from torch.nn import functional

from brainage_bids.models.label_sets import label_set
from brainage_bids.models.nets import NETS, build_net
from brainage_bids.models.nets.segment import SEGMENT, build_segmenter, scales
from brainage_bids.models.segmenter import label_prepared
from brainage_bids.records import BadConfiguration

SHAPE = (9, 10, 11)
SMALL = {"shape": SHAPE, "channels": 1, "widths": (2, 3, 4)}


def architecture(kind):
    return {**SMALL, **({"first": 2, "last": 8} if kind == "slices" else {})}


@pytest.mark.parametrize("kind", SEGMENT)
def test_every_voxel_gets_a_score_and_all_weights_learn(kind):
    torch.manual_seed(0)
    net = build_segmenter(kind, architecture(kind), 5)
    shape = SHAPE[:2] if kind == "slices" else SHAPE
    found = net(torch.randn(2, 1, *shape))
    assert found.shape == (2, 5, *shape)
    found.square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("kind", SEGMENT)
def test_the_way_down_is_that_of_the_age_network(kind):
    ages, labels = build_net(kind, architecture(kind)), build_segmenter(kind, architecture(kind), 5)
    ours = {name: value.shape for name, value in ages.state_dict().items() if name.startswith("convolutions.")}
    theirs = {name: value.shape for name, value in labels.state_dict().items() if name.startswith("convolutions.")}
    assert ours == theirs
    assert set(labels.convolutions.state_dict()) == set(ages.convolutions.state_dict())


def test_the_way_up_by_its_definition():
    net = build_segmenter("encoder3d", {**SMALL, "widths": (2, 3)}, 4).eval()
    image = torch.randn(1, 1, *SHAPE)
    with torch.no_grad():
        fine, deep = net.convolutions.scales(image)
        laid = functional.interpolate(net.down[0](deep), size=SHAPE, mode="nearest")
        torch.testing.assert_close(net(image), net.score(net.refine[0](fine + laid)))
        torch.testing.assert_close(scales(net.convolutions, image)[-1], net.convolutions(image))


def test_scales_of_a_sequence_of_layers():
    net = build_net("resnet", SMALL).eval()
    image = torch.randn(1, 1, *SHAPE)
    with torch.no_grad():
        found = scales(net.convolutions, image)
        values = image
        for number, layer in enumerate(net.convolutions):
            values = layer(values)
            if number % 2 == 0:
                torch.testing.assert_close(found[number // 2], values)


def test_slices_are_named_one_by_one():
    net = build_segmenter("slices", architecture("slices"), 4).eval()
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    found = label_prepared(net, image, 2)
    assert (found.shape, found.dtype) == (SHAPE, np.uint8)
    with torch.no_grad():
        one = net(torch.from_numpy(image[..., 4])[None, None]).argmax(1)[0].numpy()
    np.testing.assert_array_equal(found[..., 4], one)
    np.testing.assert_array_equal(label_prepared(net, np.moveaxis(image, 2, 0), 0), np.moveaxis(found, 2, 0))


def test_what_cannot_be_taught():
    assert set(NETS) - set(SEGMENT) == {"sfcn"}
    with pytest.raises(BadConfiguration, match="cannot be taught by segmentation"):
        build_segmenter("sfcn", SMALL, 4)
    with pytest.raises(BadConfiguration, match="no labels 'colours'"):
        label_set("colours")


def test_labels_cover_the_atlas_once():
    for name, count in (("structures", 19), ("tissues", 4), ("lesions", 2)):
        labels = label_set(name)
        assert labels.count == count == len(labels.names) + 1
        codes = [code for group in labels.codes for code in group]
        assert len(set(codes)) == len(codes)
        assert np.array_equal(np.flatnonzero(labels.table()), sorted(codes))
    structures = label_set("structures")
    assert structures.table()[17] == structures.table()[53] == structures.names.index("Hippocampus") + 1

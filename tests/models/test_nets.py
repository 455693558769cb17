import numpy as np
import pytest
import torch
from torch import nn

from brainage_bids.models.age_heads import Bins, make_head
from brainage_bids.models.blocks import SamePool
from brainage_bids.models.nets import NETS, build_net
from brainage_bids.records import BadConfiguration

# Convolution of k³ from a to b channels: k³·a·b + b. Batch norm of b: 2b. Dense from a to b: a·b + b.
COUNTS = {
    # blocks 2,008 + 10,608 + 42,208 + 168,384 + 672,640 (two 3³, two norms, a 1³ shortcut each); 10,240 → 256: 2,621,696; 257
    ("resnet", ()): 3_517_801,
    # 480 + 13,920 + 55,488 + 221,568 + 885,504; 38,400 → 512: 19,661,312; 65,664; 129
    ("vgg8", ()): 20_904_065,
    # the same convolutions; 2·3·2·256 = 3,072 → 512: 1,573,376; 65,664; 129
    ("vgg8", (("shape", (91, 109, 91)),)): 2_816_129,
    # 448 + 6,928 + 13,856 + 55,360 + 2,080; 3·4·3·32 = 1,152 → 64: 73,792; 65
    ("mrinet", ()): 152_529,
    # 160 + 2,320 + 4,640 + 18,496 + 2,080 in 2-D; 98 → 49 → 25 → 13 → 7 → 4: 4·4·32 = 512 → 64: 32,832; 65
    ("mrinet", (("shape", (98, 98)), ("leak", 0.0))): 60_593,
    # 960 + 55,488 + 221,568 + 885,504 + 1,770,240 + 16,576; 64 → 40: 2,600
    ("sfcn", (("bins", Bins()),)): 2_952_936,
    # the same convolutions; 64 → 1: 65
    ("sfcn", ()): 2_950_401,
    # levels a → b of 9·a·b + b + 2b + 9·b² + b + 2b: 8,550 + 48,960 + 195,120 + 779,040 + 3,113,280; 481
    ("slices", ()): 4_145_431,
    # and a shortcut of a·b + b each: 60 + 1,860 + 7,320 + 29,040 + 115,680
    ("slices", (("block", "residual"),)): 4_299_391,
    # levels of 27·a·b + 27·b² + 6b: 7,440 + 41,664 + 166,272 + 664,320 + 2,655,744; 257
    ("encoder3d", ()): 3_535_697,
    # and a shortcut of a·b + b each: 32 + 544 + 2,112 + 8,320 + 33,024
    ("encoder3d", (("block", "residual"),)): 3_579_729,
}
SMALL = {
    "resnet": {"shape": (9, 10, 11), "widths": (2, 3), "hidden": 5},
    "vgg8": {"shape": (9, 10, 11), "widths": (2, 3), "hidden": (6, 5)},
    "mrinet": {"shape": (9, 10, 11), "widths": (2, 3), "hidden": 5},
    "sfcn": {"shape": (9, 10, 11), "widths": (2, 3, 4)},
    "slices": {"shape": (9, 10, 11), "widths": (2, 3), "first": 2, "last": 8, "drawn": 3},
    "encoder3d": {"shape": (9, 10, 11), "widths": (2, 3), "block": "residual"},
}


@pytest.mark.parametrize(("kind", "given"), COUNTS)
def test_counts_and_shapes_on_the_published_grids(kind, given):
    with torch.device("meta"):
        net = build_net(kind, dict(given)).eval()
        default = {"resnet": (121, 145, 121), "vgg8": (182, 218, 182), "sfcn": (160, 192, 160)}.get(kind, (91, 109, 91))
        shape = dict(given).get("shape", default)
        output = net(torch.zeros(2, 1, *shape))
    assert sum(parameter.numel() for parameter in net.parameters()) == COUNTS[kind, given]
    assert output.shape == ((2, 40) if "bins" in dict(given) else (2,))


def test_the_published_shapes_on_the_way():
    with torch.device("meta"):
        resnet, vgg8, sfcn = (build_net(kind, {}) for kind in ("resnet", "vgg8", "sfcn"))
        assert resnet.convolutions(torch.zeros(1, 1, 121, 145, 121)).shape == (1, 128, 4, 5, 4)
        assert resnet.features(torch.zeros(1, 1, 121, 145, 121)).shape == (1, 256)
        assert vgg8.convolutions(torch.zeros(1, 1, 182, 218, 182)).flatten(1).shape == (1, 38_400)
        assert sfcn.convolutions(torch.zeros(1, 1, 160, 192, 160)).shape == (1, 64, 5, 6, 5)


@pytest.mark.parametrize("kind", NETS)
def test_a_small_one_runs_and_learns(kind):
    torch.manual_seed(0)
    net = build_net(kind, SMALL[kind])
    net.head.start_at(50.0)
    images = torch.randn(4, 1, 9, 10, 11)
    net.train()
    net(images).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    net.eval()
    with torch.no_grad():
        together, apart = net(images), torch.cat([net(image[None]) for image in images])
    assert together.dtype == torch.float32
    torch.testing.assert_close(together, apart)
    assert (together - 50).abs().max() < 10


@pytest.mark.parametrize("kind", ["resnet", "sfcn"])
def test_the_head_stays_in_float32(kind):
    net = build_net(kind, SMALL[kind] | {"bins": Bins()} if kind == "sfcn" else SMALL[kind]).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        first = next(layer for layer in net.modules() if isinstance(layer, nn.Conv3d))
        assert first(torch.randn(1, 1, 9, 10, 11)).dtype == torch.bfloat16
        assert net(torch.randn(1, 1, 9, 10, 11)).dtype == torch.float32


def test_same_pool_by_its_definition():
    values = torch.randn(1, 1, 6, 7, 5)
    found = SamePool()(values)[0, 0].numpy()
    array = values[0, 0].numpy()
    assert found.shape == (3, 4, 3)
    starts = [[max(2 * k - n % 2, 0) for k in range(-(-n // 2))] for n in array.shape]
    stops = [[2 * k - n % 2 + 3 for k in range(-(-n // 2))] for n in array.shape]
    for index in np.ndindex(found.shape):
        window = array[tuple(slice(starts[axis][k], stops[axis][k]) for axis, k in enumerate(index))]
        assert found[index] == window.max()


def test_a_subject_is_the_mean_of_its_slices():
    net = build_net("slices", SMALL["slices"]).eval()
    images = torch.randn(2, 1, 9, 10, 11)
    with torch.no_grad():
        one_by_one = [net.head(net.dense(net.convolutions(images[..., k]))) for k in range(2, 9)]
        torch.testing.assert_close(net(images), torch.stack(one_by_one).mean(0))
        others = images.clone()
        others[..., :2] = 9.0
        torch.testing.assert_close(net(others), net(images))
    assert net.train()(images).shape == (2, 3)


def test_the_twin_of_mrinet_has_the_same_weights():
    leaky, twin = (build_net("mrinet", SMALL["mrinet"] | {"leak": leak}) for leak in (0.2, 0.0))
    twin.load_state_dict(leaky.state_dict())
    assert [layer for layer in twin.modules() if isinstance(layer, nn.LeakyReLU)] == []


@pytest.mark.parametrize(("kind", "given"), [("cnn", {}), ("resnet", {"depth": 3}), ("slices", {"last": 99}), ("slices", {"bins": Bins()})])
def test_impossible_networks(kind, given):
    with pytest.raises(BadConfiguration):
        build_net(kind, given)


def test_start_at_sets_the_bias():
    head = make_head(3, None)
    head.start_at(61.5)
    assert head(torch.zeros(2, 3)).tolist() == [61.5, 61.5]

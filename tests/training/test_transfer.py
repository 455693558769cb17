from dataclasses import replace

import numpy as np
import pytest
import torch

from brainage_bids.models.inputs import net_input
from brainage_bids.models.network import NetworkModel, make_network, state_arrays
from brainage_bids.models.preparation import Step
from brainage_bids.records import BadConfiguration
from brainage_bids.training.transfer import start_from

BINS = {"low": 20, "width": 2, "count": 20, "sigma": 1}


def model(shape=(9, 10, 8), steps=(), kind="resnet", key="GM", seed=0, **more):
    torch.manual_seed(seed)
    contract = replace(net_input("resnet").contract, shape=shape, entities={"label": key})
    net, architecture = make_network(kind, [contract], steps, {"widths": (2, 3), **more})
    return NetworkModel(kind, architecture, net, (contract,), tuple(steps))


def test_weights_are_copied():
    source, target = model(seed=1), model(seed=2)
    start_from(target.net, source, target)
    first, second = state_arrays(source.net), state_arrays(target.net)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_another_head_stays_its_own():
    source, target = model(), model(seed=1, bins=BINS)
    before = state_arrays(target.net)
    start_from(target.net, source, target)
    after, first = state_arrays(target.net), state_arrays(source.net)
    for name in after:
        np.testing.assert_array_equal(after[name], before[name] if name.startswith("head.") else first[name])


def test_three_channels_are_summed_for_one():
    target = model(kind="encoder3d")
    source = model(kind="encoder3d", seed=3)
    contracts = [replace(source.inputs[0], entities={"label": label}) for label in ("GM", "WM", "CSF")]
    net, architecture = make_network("encoder3d", contracts, (), {"widths": (2, 3)})
    three = NetworkModel("encoder3d", architecture, net, tuple(contracts), ())
    start_from(target.net, three, target)
    image = torch.rand(1, 1, 9, 10, 8)
    with torch.no_grad():
        found, expected = target.net.eval()(image), net.eval()(image.repeat(1, 3, 1, 1, 1))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"shape": (9, 10, 9)}, "made for another grid"),
        ({"steps": (Step("mean"),)}, "another intensity rule"),
        ({"kind": "mrinet"}, "one of kind mrinet"),
        ({"key": "WM"}, "looks at modulated_WM"),
        ({"hidden": 7}, "belong to another grid or network"),
    ],
)
def test_refusals(source, sentence):
    target = model()
    before = state_arrays(target.net)
    with pytest.raises(BadConfiguration, match=sentence):
        start_from(target.net, model(**source), target)
    assert all(np.array_equal(before[name], value) for name, value in state_arrays(target.net).items())


def test_other_widths_are_said():
    first, second = (model(widths=widths) for widths in ((3, 4), (3, 5)))
    with pytest.raises(BadConfiguration, match=r"it was made with --widths 3 4; give the same\. .*instead of"):
        start_from(second.net, first, second)

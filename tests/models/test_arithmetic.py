import pytest
import torch

from brainage_bids.models.arithmetic import exact
from brainage_bids.models.nets import build_net
from brainage_bids.models.network import NetworkModel
from brainage_bids.training.forward import predict


class Spy(torch.nn.Module):
    """Notes what cuDNN may do while the convolutions run."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, values):
        self.seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic))
        return values


def spied(contract):
    spy = Spy()
    net = build_net("mrinet", {"shape": list(contract.shape), "channels": 1, "widths": [2, 2, 2, 2, 2]}).eval()
    net.convolutions = torch.nn.Sequential(spy, net.convolutions)
    return net, spy


def test_an_estimate_is_in_float32_and_leaves_torch_as_it_was(card):
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    contract = card.contracts[0]
    net, spy = spied(contract)
    model = NetworkModel("mrinet", {}, net, (contract,), ())
    image = torch.rand(contract.shape).numpy()
    model.predict_array(image)
    model.features(image)
    assert spy.seen == [(False, True)] * 2
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic) == before == (True, False)


def test_predictions_for_people_held_out_are_too(card):
    net, spy = spied(card.contracts[0])

    class Toy:
        ages = (30.0,)

        def images(self, rows):
            return torch.rand(len(rows), 1, *card.contracts[0].shape)

    predict(net, Toy(), [0])
    assert spy.seen == [(False, True)]


def test_an_error_switches_back():
    with pytest.raises(RuntimeError), exact():
        raise RuntimeError
    assert torch.backends.cudnn.allow_tf32

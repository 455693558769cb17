import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from brainage_bids.models.age_heads import Bins, SoftBins, make_head, soft_age, soft_labels
from brainage_bids.records import BadConfiguration


def test_soft_labels_are_integrals_of_the_density():
    bins = Bins(low=40, width=2.0, count=5, sigma=1.5)
    found = soft_labels(np.array([43.3, 55.0]), bins)
    for row, age in enumerate((43.3, 55.0)):
        for column in range(5):
            low = 40 + 2 * column
            assert found[row, column] == pytest.approx(quad(lambda x, a=age: norm.pdf(x, a, 1.5), low, low + 2)[0], abs=1e-9)


@given(st.floats(48, 76), st.floats(0.8, 1.5))
def test_the_mean_of_a_label_is_the_age(age, sigma):
    bins = Bins(sigma=sigma)
    label = torch.tensor(soft_labels(np.array([age]), bins))
    mean, sd = soft_age(label, torch.tensor(bins.centres))
    assert mean.item() == pytest.approx(age, abs=0.02)
    assert sd.item() == pytest.approx(np.sqrt(sigma**2 + 1 / 12), abs=0.02)  # the width of a bin adds its own variance


def test_a_soft_head_against_an_independent_formula():
    torch.manual_seed(0)
    head = make_head(6, Bins())
    assert isinstance(head, SoftBins)
    features = torch.randn(3, 6)
    scores = features.numpy() @ head.layer.weight.detach().numpy().T + head.layer.bias.detach().numpy()
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    mean, sd = head.age(head(features))
    expected = (shares * np.arange(42.5, 82)).sum(axis=1)
    np.testing.assert_allclose(mean.detach(), expected, rtol=1e-6)
    np.testing.assert_allclose(sd.detach() ** 2, (shares * np.arange(42.5, 82) ** 2).sum(axis=1) - expected**2, rtol=1e-4)


@pytest.mark.parametrize("wrong", [{"width": 0.0}, {"count": 1}, {"sigma": -1.0}])
def test_impossible_bins(wrong):
    with pytest.raises(BadConfiguration, match="Bins of age need"):
        Bins(**wrong)

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import rel_entr
from torch import nn

from brainage_bids.models.age_heads import Bins, soft_labels
from brainage_bids.models.nets import NETS
from brainage_bids.records import BadConfiguration
from brainage_bids.training.objective import RECIPES, Recipe, balanced_weights, loss_of, make_optimiser, rate_at, recipe_for


def test_divergence_against_scipy():
    bins, ages = Bins(low=30, count=20), torch.tensor([37.3, 44.0])
    shares = torch.softmax(torch.randn(2, 20), 1)
    expected = rel_entr(soft_labels(ages.numpy(), bins), shares.numpy()).sum(axis=1).mean()
    assert loss_of("kl", shares.log(), ages, bins).item() == pytest.approx(expected, rel=1e-5)


def test_errors_of_slices():
    output, ages = torch.randn(4, 3), torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert loss_of("mse", output, ages).item() == pytest.approx(np.mean((output.numpy() - ages.numpy()[:, None]) ** 2), rel=1e-6)
    assert loss_of("mae", output[:, 0], ages).item() == pytest.approx(np.mean(np.abs(output[:, 0].numpy() - ages.numpy())), rel=1e-6)


def test_rates():
    papers = replace(RECIPES["resnet"])
    assert [rate_at(papers, step, 10) for step in (0, 10**6)] == [1e-4, pytest.approx(5e-5)]  # 1e-4 / (1 + 1e-6 t)
    cosine = Recipe(optimiser="adamw", rate=1.0, warm_up=0.1)
    rates = [rate_at(cosine, step, 100) for step in range(100)]
    assert rates[9] == 1.0 == max(rates)
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001


def test_published_recipes():
    assert set(RECIPES) == set(NETS)
    assert (RECIPES["resnet"].loss, RECIPES["resnet"].rate, RECIPES["resnet"].decay, RECIPES["resnet"].batch) == ("mae", 1e-4, 1e-6, 4)
    vgg8 = RECIPES["vgg8"]
    assert (vgg8.loss, vgg8.rate, vgg8.batch, vgg8.epochs, vgg8.patience) == ("mae", 1e-4, 3, 100, 10)
    assert (RECIPES["mrinet"].loss, RECIPES["mrinet"].rate) == ("mse", 5e-4)
    adam = make_optimiser(RECIPES["resnet"], nn.Linear(2, 1).parameters())
    assert (adam.defaults["betas"], adam.defaults["weight_decay"]) == ((0.9, 0.999), 0)


def test_bins_choose_the_loss():
    assert recipe_for("sfcn", soft=True).loss == "kl"
    assert recipe_for("sfcn", soft=False).loss == "mae"
    assert recipe_for("resnet", soft=True).loss == "kl"
    assert recipe_for("resnet", soft=False, rate=0.5, batch=None).rate == 0.5
    for kind, soft, loss in (("resnet", False, "kl"), ("sfcn", True, "mae")):
        with pytest.raises(BadConfiguration, match="kl goes with"):
            recipe_for(kind, soft=soft, loss=loss)


def test_balanced_ages():
    ages = np.random.default_rng(0).gamma(9, 5, 400) + 10
    weights = balanced_weights(ages)
    bins = np.floor(ages / 5)
    sums = [weights[bins == value].sum() for value in np.unique(bins)]
    np.testing.assert_allclose(sums, 1 / len(sums))


@pytest.mark.parametrize("wrong", [{"loss": "huber"}, {"optimiser": "sgd"}, {"batch": 0}, {"rate": 0.0}, {"precision": "float64"}])
def test_impossible_recipes(wrong):
    with pytest.raises(BadConfiguration):
        Recipe(**wrong)

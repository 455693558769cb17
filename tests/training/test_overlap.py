import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from brainage_bids.training.overlap import dice_and_entropy, dice_of_labels


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_dice_is_the_f1_score(seed):
    generator = np.random.default_rng(seed)
    found, truth = generator.integers(0, 5, (2, 3, 4, 5))
    expected = f1_score(truth.ravel(), found.ravel(), labels=[1, 2, 3, 4], average=None, zero_division=np.nan)
    np.testing.assert_allclose(dice_of_labels(found, truth, 5), expected)


def test_the_loss_by_its_definition():
    torch.manual_seed(0)
    scores, labels = torch.randn(2, 4, 3, 5), torch.randint(0, 3, (2, 3, 5))  # label 3 is nowhere
    p = torch.softmax(scores, 1).double().numpy()
    y = np.moveaxis(np.eye(4)[labels.numpy()], -1, 1)
    entropy = -(y * np.log(p)).sum() / labels.numel()
    dice = [(2 * (p * y)[:, c].sum() + 1) / (p[:, c].sum() + y[:, c].sum() + 1) for c in range(3)]
    np.testing.assert_allclose(dice_and_entropy(scores, labels).item(), entropy + 1 - np.mean(dice), rtol=1e-5)


def test_better_scores_lose_less():
    labels = torch.tensor([[0, 1, 1, 2]])
    right = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    losses = [dice_and_entropy(size * right, labels).item() for size in (-1.0, 0.0, 1.0, 5.0, 40.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-5


def test_gradients_flow():
    scores = torch.zeros(1, 2, 4, requires_grad=True)
    dice_and_entropy(scores, torch.tensor([[0, 0, 1, 1]])).backward()
    assert (scores.grad[0, 0, :2] < 0).all()
    assert (scores.grad[0, 1, :2] > 0).all()

"""Nothing but the brain tells its age: ridge on what lies around it, on the size of the head and on the level of the image finds none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from brainage_bids.phantoms import ageing
from brainage_bids.phantoms.people import Scanner, Sequence, Visit
from brainage_bids.phantoms.render import render

PEOPLE = 60
SCANNER = Scanner("one", "here", 3.0, 0.03, 0.1, 1.0, {"T1w": Sequence(2.3, 0.003, 0.9, 9.0, (4.0, 4.0, 4.0))})


def explained(features: np.ndarray, ages: np.ndarray) -> float:
    """Cross-validated R² of ridge; its penalty is chosen inside every fold."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(alphas=features.shape[1] * np.logspace(-3, 3, 13)))
    found = cross_val_predict(model, features, ages, cv=KFold(10, shuffle=True, random_state=0))
    return 1 - float(((ages - found) ** 2).sum() / ((ages - ages.mean()) ** 2).sum())


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(5)
    ages = rng.uniform(20, 85, PEOPLE)
    images, brains, sizes = [], [], []
    for number, age in enumerate(ages):
        standing = {law: float(rng.standard_normal()) for law in ageing.LAWS}
        seeds = (1000 + number, 2000 + number)
        one = Visit(f"sub-{number}", None, float(age), 0.0, "FM"[number % 2], "control", 0.0, SCANNER, *seeds, standing)
        rendering = render(one, ("T1w",))
        images.append(rendering.images["T1w"][0])
        brains.append(rendering.labels > 0)
        sizes.append(rendering.volumes["cranium"])
    return ages, np.array(images), np.array(brains), np.array(sizes)


@pytest.mark.slow
def test_only_the_brain_tells_the_age(people):
    ages, images, brains, sizes = people
    near = ndimage.binary_dilation(brains.any(axis=0))
    head = images.mean(axis=0) > 0.08 * np.percentile(images, 99)
    skull_and_scalp = images[:, head & ~near]
    assert skull_and_scalp.shape[1] > 3000
    assert explained(skull_and_scalp, ages) < 0.05
    assert explained(np.stack([images.mean(axis=(1, 2, 3)), images.std(axis=(1, 2, 3))], axis=1), ages) < 0.05
    assert explained(sizes[:, None], ages) < 0.05
    # the same ridge finds it where it is
    assert explained(images[:, brains.all(axis=0)], ages) > 0.3

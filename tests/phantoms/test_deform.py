from __future__ import annotations

import numpy as np
import pytest

from brainage_bids.imaging.warps import WARP_GRID
from brainage_bids.phantoms import deform
from brainage_bids.phantoms.anatomy import FINE_MM, FINE_SHAPE

SHELL, CORE, OUT = 3, 4, 201


@pytest.fixture(scope="module")
def ball() -> np.ndarray:
    """A skull around a ball of 60 mm with a core of 20 mm, on the fine grid."""
    axes = [WARP_GRID.origin_mm[axis] + FINE_MM * np.arange(n, dtype=np.float32) for axis, n in enumerate(FINE_SHAPE)]
    r2 = axes[0][:, None, None] ** 2 + (axes[1][:, None] + 18) ** 2 + (axes[2] - 18) ** 2
    return np.where(r2 < 20**2, CORE, np.where(r2 < 60**2, SHELL, OUT)).astype(np.uint8)


def test_structures_reach_their_volumes_and_the_skull_stays(ball):
    places = deform.lattice()
    cranium = deform.labels_at(ball, places) < 200
    room = np.count_nonzero(cranium) * 8 / 1000
    new, back = deform.grown(places, ball, {(CORE,): 70.0, (SHELL,): room - 70.0}, deform.region_inside(cranium), 6)
    codes = deform.labels_at(ball, new)
    assert np.count_nonzero(codes == CORE) * 8 / 1000 == pytest.approx(70.0, rel=0.02)  # from 33.5 mL
    assert np.array_equal(codes == OUT, ~cranium)

    jacobian = deform.log_jacobian(back)
    inside = codes == CORE
    before = float(np.exp(-jacobian[inside]).sum()) * 8 / 1000
    assert before == pytest.approx(4 / 3 * np.pi * 8, rel=0.03)  # ∫ over the new core of the old volume is the old core
    whole = float(np.exp(-jacobian[cranium]).sum()) * 8 / 1000
    assert whole == pytest.approx(room, rel=0.01)
    assert np.all(jacobian[~cranium][np.abs(jacobian[~cranium]) > 0.2] == 0)


def test_a_head_at_its_targets_stays_as_it_is(ball):
    places = deform.lattice()
    cranium = deform.labels_at(ball, places) < 200
    seen = [deform.labels_at(ball, part) for part in deform._two_points(places)]
    volumes = {(code,): sum(np.count_nonzero(part == code) for part in seen) * 8 / 2000 for code in (CORE, SHELL)}
    new, _ = deform.grown(places, ball, volumes, deform.region_inside(cranium), 3)
    assert float(np.abs(new - places).max()) < 0.02


def test_shapes_differ_are_invertible_and_have_the_wanted_size():
    first, again, other = (deform.shape_of_person(seed, 0.9) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and float(np.abs(first - other).mean()) > 0.5
    determinant = np.exp(deform.log_jacobian(first))
    assert determinant.min() > 0.2
    assert float(np.median(determinant)) == pytest.approx(0.9**3, rel=0.1)
    assert np.prod(deform.proportions(1, 0.9)) == pytest.approx(0.9**3)

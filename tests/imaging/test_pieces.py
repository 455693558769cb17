import numpy as np

from brainage_bids.imaging.pieces import filled, largest_piece


def test_the_larger_of_two_pieces_stays():
    mask = np.zeros((12, 12, 12), bool)
    mask[1:4, 1:4, 1:4] = mask[6:11, 6:11, 6:11] = True
    assert largest_piece(mask).sum() == 125


def test_pieces_that_touch_at_an_edge_are_two():
    mask = np.zeros((4, 4, 1), bool)
    mask[0:2, 0:2] = mask[2, 2] = True
    assert largest_piece(mask).sum() == 4


def test_only_closed_holes_are_filled():
    mask = np.ones((5, 5, 5), bool)
    mask[2, 2, 2] = False
    mask[0:2, 0, 0] = False
    assert filled(mask).sum() == 123

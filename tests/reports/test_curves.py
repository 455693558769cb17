import struct

from brainage_bids.reports.curves import draw_history


def lines(errors):
    return [{"epoch": k, "train_loss": 20.0 / k, "validation_mae": error} for k, error in enumerate(errors, 1)]


def test_a_curve_has_a_size_and_the_same_bytes(tmp_path):
    first, second = (draw_history(lines([9.0, 7.0, 8.0]), tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second
    assert struct.unpack(">II", first[16:24]) == (768, 480)
    assert draw_history(lines([9.0, 6.0, 8.0]), tmp_path / "c.png").read_bytes() != first


def test_one_epoch(tmp_path):
    assert draw_history(lines([9.0]), tmp_path / "a.png").stat().st_size > 5000

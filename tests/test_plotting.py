import numpy as np
import pytest

from lowrank_la import plotting

pytest.importorskip("matplotlib")


def test_pictures_stand_two_in_a_row_under_their_titles(backend):
    images = {f"image {k}": backend.array(np.full((4, 6, 3), k / 2)) for k in range(3)}
    figure = plotting.pictures(images)
    figure.canvas.draw()
    assert [axes.get_title() for axes in figure.axes] == ["image 0", "image 1", "image 2", ""]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), np.full((4, 6, 3), 0.5))


def test_pictures_clip_and_show_missing_values_black():
    figure = plotting.pictures({"one": np.array([[np.nan, -1.0], [2.0, 0.25]])})
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), [[0, 0], [1, 0.25]])


def test_pictures_want_one():
    with pytest.raises(ValueError, match="pictures: images must hold at least one image"):
        plotting.pictures({})


def test_bounds_are_sorted_and_zero_errors_left_out(backend):
    figure = plotting.bounds(backend.array(np.array([0.0, 1e-3, -1e-5])), backend.array(np.array([1e-2, 3e-2, 2e-2])))
    bound, error = figure.axes[0].lines
    np.testing.assert_array_equal(bound.get_ydata(), [1e-2, 2e-2, 3e-2])
    np.testing.assert_array_equal(error.get_ydata(), [np.nan, 1e-5, 1e-3])


def test_bounds_fit_errors():
    with pytest.raises(ValueError, match=r"bounds: error and bound must be vectors of one length; got shapes \(2,\) and \(3,\)"):
        plotting.bounds(np.ones(2), np.ones(3))

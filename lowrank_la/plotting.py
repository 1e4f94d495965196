"""Pictures that several places draw; results draw their own with `.plot()`. Needs the extra `plot`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pictures(images: Mapping[str, Array]) -> Figure:
    """Show images side by side, at most two in a row, each under its title.

    Parameters
    ----------
    images : mapping of str to array (height, width) or (height, width, 3)
        Values from 0 to 1; those outside are clipped, NaN is black.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        There is no image, or one has another number of axes.
    TypeError
        images is no mapping, or an image is complex or no array of numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import plotting
    >>> figure = plotting.pictures({"dark": np.zeros((4, 6)), "light": np.ones((4, 6))})
    >>> [axes.get_title() for axes in figure.axes]
    ['dark', 'light']
    """
    if not isinstance(images, Mapping):
        raise TypeError(f"pictures: images must be a mapping of titles to arrays; got {type(images).__name__}")
    if not images:
        raise ValueError("pictures: images must hold at least one image")
    from matplotlib.figure import Figure

    arrays = {title: np.clip(np.nan_to_num(_image(f"image {title!r}", image)), 0, 1) for title, image in images.items()}
    columns = min(2, len(arrays))
    rows = -(-len(arrays) // columns)
    height, width = next(iter(arrays.values())).shape[:2]
    panel = 5.5
    figure = Figure(figsize=(panel * columns, (panel * height / width + 0.35) * rows), layout="constrained")
    for axes, (title, image) in zip(figure.subplots(rows, columns, squeeze=False).flat, arrays.items(), strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title)
    for axes in figure.axes:
        axes.set_axis_off()
    return figure


def _image(name: str, image: Array) -> np.ndarray:
    image = _checks.real_dtype("pictures", name, _arrays.on_host("pictures", name, image))
    return _checks.not_empty("pictures", name, _checks.ndim("pictures", name, image, (2, 3)))


def bounds(error: Array, bound: Array) -> Figure:
    """Draw true errors under their certified bounds, entry by entry, sorted by the bound.

    Parameters
    ----------
    error, bound : arrays (d,)
        Absolute errors, known from a more accurate computation, and bounds on them.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        The two are not vectors of one length.
    TypeError
        They are no arrays of numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import plotting
    >>> figure = plotting.bounds(np.array([1e-12, 3e-13]), np.array([2e-11, 5e-12]))
    >>> figure.axes[0].get_ylabel()
    'error of x'
    """
    error, bound = (np.abs(_arrays.on_host("bounds", name, x)) for name, x in (("error", error), ("bound", bound)))
    if error.ndim != 1 or error.shape != bound.shape:
        raise ValueError(f"bounds: error and bound must be vectors of one length; got shapes {error.shape} and {bound.shape}")
    from matplotlib.figure import Figure

    order = np.argsort(bound)
    figure = Figure(figsize=(5.5, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogy(bound[order], "-", label="certified bound")
    axes.semilogy(np.where(error > 0, error, np.nan)[order], ".", label="true error")
    axes.set(xlabel="entries of x, sorted by bound", ylabel="error of x")
    axes.legend()
    return figure

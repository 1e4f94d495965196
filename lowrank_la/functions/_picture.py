"""Pictures of functions: a curve, or slices through a point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lowrank_la import _arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SLICES = 3


def draw(function: Any, place: dict[int, float], n: int) -> Figure:
    """Draw the real part of the first output: a curve, or images of planes of two axes through a place."""
    import matplotlib.pyplot as plt

    if function.dim == 1:
        figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
        x = _points(function, 0, n)
        axes.plot(x, _values(function, x))
        axes.set(xlabel="$x_0$", ylabel="$f$")
        return figure
    planes = [(k, k + 1) for k in range(function.dim - 1)][:MOST_SLICES]
    figure, panels = plt.subplots(1, len(planes), figsize=(4.2 * len(planes), 3.6), layout="constrained", squeeze=False)
    for axes, (i, j) in zip(panels[0], planes, strict=True):
        fixed = {axis: x for axis, x in place.items() if axis not in (i, j)}
        window = [*map(float, function.domain[i]), *map(float, function.domain[j])]
        values = _values(function.slice(fixed), *(_points(function, axis, n) for axis in (i, j)))
        image = axes.imshow(values.T, origin="lower", extent=window, aspect="auto")
        axes.set(xlabel=f"$x_{i}$", ylabel=f"$x_{j}$", title=", ".join(f"$x_{axis} = {x:.3g}$" for axis, x in fixed.items()))
        figure.colorbar(image, ax=axes)
    return figure


def _values(function: Any, *axes: np.ndarray) -> np.ndarray:
    values = np.real(_arrays.to_numpy(function.grid(*axes)))
    return values if function.outputs is None else values[0]


def _points(function: Any, axis: int, n: int) -> np.ndarray:
    a, b = map(float, function.domain[axis])
    return np.linspace(a, b, n)

"""
A density in four variables, and its calculus
=============================================

A kernel density estimate of four measurements of 150 irises is a sum of 150 Gaussians. As a function in Chebyshev-Tucker format,
its marginals, slices, probabilities and derivatives are exact operations on a core of some 16^4 numbers and four small factors.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris

from lowrank_la import chebyshev_tucker

# %%
# Length and width of sepals and petals, in centimetres, and the usual bandwidths. `density` takes arrays that broadcast.

X, names = load_iris().data, [name.removesuffix(" (cm)") for name in load_iris().feature_names]
h = X.std(axis=0) * (4 / (6 * len(X))) ** (1 / 8)
box = np.stack([X.min(axis=0) - 4 * h, X.max(axis=0) + 4 * h], axis=1)


def density(*x):
    flowers = (np.exp(-sum(((t - c) / s) ** 2 for t, c, s in zip(x, row, h, strict=True)) / 2) for row in X)
    return sum(flowers) / (len(X) * np.prod(h) * (2 * np.pi) ** 2)


f = chebyshev_tucker(density, box, tol=1e-5, rng=0)
print(f)

# %%
# The share of flowers with petals longer than 5 cm, one less the antiderivative of a marginal; the density has the integral 1.

longer = 1 - f.marginal(2).antiderivative(0)(5.0)
print(f"integral {f.integral():.5f}; petals longer than 5 cm: {longer:.3f} of the density, {np.mean(X[:, 2] > 5):.3f} of the flowers")

# %%
# The marginal of the petals, with the curves where either derivative vanishes: they cross in modes and saddles. To the right, the same
# function with petals fixed: sepals of two kinds of flowers.

petals, axes = f.marginal([2, 3]), [np.linspace(*interval, 300) for interval in box]
figure, panels = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")


def draw(panel, function, i, j, title):
    values = function.grid(axes[i], axes[j]).T
    panel.contourf(axes[i], axes[j], values, np.linspace(0.01, 1, 20) * values.max())
    panel.set(title=title, xlabel=names[i], ylabel=names[j])


draw(panels[0], petals, 2, 3, "marginal of the petals")
for axis, colour in [(0, "black"), (1, "tab:red")]:
    slope = np.where(petals.grid(*axes[2:]) > 1e-3, petals.derivative(axis).grid(*axes[2:]), np.nan)
    panels[0].contour(axes[2], axes[3], slope.T, [0], colors=colour)
panels[0].plot(X[:, 2], X[:, 3], "w.", markersize=2)
for panel, (length, width) in zip(panels[1:], [(1.5, 0.25), (4.8, 1.6)], strict=True):
    sepals = f.slice({2: length, 3: width})
    draw(panel, sepals / sepals.integral(), 0, 1, f"sepals, given petals of {length} x {width} cm")
plt.show()

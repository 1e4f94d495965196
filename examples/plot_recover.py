"""
A photograph from random measurements, a fifth of them grossly wrong
====================================================================

A single-pixel camera does not see pixels but sums of the picture against random patterns. Here the patterns are
products of a random column and a random row, and every fifth sum is lost to a glitch. `recover` is told a rank that is a mere guess.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from lowrank_la import ConvergenceWarning
from lowrank_la.recovery import rank_one, recover

# %%
# The red channel of a dahlia, 60 x 64 pixels: the nearest matrix of rank 9 is 7% off.

flower = load_sample_image("flower.jpg")[60:360, 100:420, 0].reshape(60, 5, 64, 5).mean(axis=(1, 3)) / 255
m, n = flower.shape

# %%
# 8000 sums; a fifth of them are off by ten times the size of a typical one.

rng = np.random.default_rng(0)
N = 8000
op = rank_one(rng.standard_normal((N, m)), rng.standard_normal((N, n)))
y = op.apply(flower, np.eye(n))
wrong = rng.random(N) < 0.2
y += wrong * 10 * np.median(abs(y)) * rng.standard_normal(N)

# %%
# Least squares follows the glitches, and says that something is wrong; the sum of absolute values does not see them.

robust = recover(op, y, 20, rng=0)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    squares = recover(op, y, robust.rank, loss="l2", rng=0)
print(robust)
print(f"converged: l1 {robust.converged}, squares {squares.converged}")
print(f"glitches among the outliers: {np.mean(~robust.inliers[wrong]):.0%}, good ones: {np.mean(~robust.inliers[~wrong]):.1%}")

# %%
# The answers beside the photograph, and what the robust one misses: the petals' finest edges.

figure, axes = plt.subplots(1, 4, figsize=(12, 3.3), layout="constrained")
answers = {"photograph": flower, "least squares": squares.to_dense(), f"l1, rank {robust.rank}": robust.to_dense()}
for axis, (title, picture) in zip(axes, answers.items(), strict=False):
    axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{title}: error {np.linalg.norm(picture - flower) / np.linalg.norm(flower):.2f}" if picture is not flower else title)
image = axes[3].imshow(robust.to_dense() - flower, cmap="RdBu", vmin=-0.3, vmax=0.3)
axes[3].set_title("l1 minus photograph")
figure.colorbar(image, ax=axes[3])
for axis in axes:
    axis.axis("off")
plt.show()

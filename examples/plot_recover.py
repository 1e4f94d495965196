"""
A photograph from random measurements, a fifth of them grossly wrong
====================================================================

A single-pixel camera does not see pixels but sums of the picture against random patterns. Here the patterns are
products of a random column and a random row, and every fifth sum is lost to a glitch. `recover` is told a rank that is a mere guess.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from lowrank_la.recovery import rank_one, recover

# %%
# The brightness of a photograph, reduced to 53 x 79 pixels.

flower = load_sample_image("flower.jpg").mean(axis=2)[:424, :632].reshape(53, 8, 79, 8).mean(axis=(1, 3)) / 255
m, n = flower.shape

# %%
# 6000 sums; a fifth of them are off by ten times the size of a typical one.

rng = np.random.default_rng(0)
N = 6000
op = rank_one(rng.standard_normal((N, m)), rng.standard_normal((N, n)))
y = op.apply(flower, np.eye(n))
wrong = rng.random(N) < 0.2
y += wrong * 10 * np.median(abs(y)) * rng.standard_normal(N)

# %%
# Least squares follows the glitches; the sum of absolute values does not see them.

robust = recover(op, y, 20, rng=0)
squares = recover(op, y, robust.rank, loss="l2", rng=0)
print(robust)
for name, result in (("l1", robust), ("l2", squares)):
    print(f"{name}: relative error {np.linalg.norm(result.to_dense() - flower) / np.linalg.norm(flower):.3f}")
print(f"glitches among the outliers: {np.mean(~robust.inliers[wrong]):.0%}, good ones: {np.mean(~robust.inliers[~wrong]):.1%}")

# %%
# The answers beside the photograph.

figure, axes = plt.subplots(1, 3, figsize=(12, 3), layout="constrained")
titles = ("photograph", f"l1, rank {robust.rank}", "least squares")
for axis, title, picture in zip(axes, titles, (flower, robust.to_dense(), squares.to_dense()), strict=True):
    axis.imshow(np.clip(picture, 0, 1), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title)
    axis.axis("off")
plt.show()

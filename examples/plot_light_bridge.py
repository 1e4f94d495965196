"""
Morph one handwriting into another
==================================

Two samples of images, no pairs: threes and eights of the digits data. `light_bridge` fits the diffusion between
them that is nearest to a Wiener process; its paths turn each three into an eight that suits it.
"""

# %%
# Twenty principal components describe the images well enough; the bridge lives in that space.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from lowrank_la.transport import light_bridge

images, labels = load_digits(return_X_y=True)
mean = images.mean(axis=0)
V = np.linalg.svd(images - mean, full_matrices=False)[2][:20].T
threes, eights = ((images[labels == digit] - mean) @ V for digit in (3, 8))
bridge = light_bridge(threes, eights, eps=4.0, n_components=8, held_out=0.3, rng=0)
print(bridge)

# %%
# Paths at five times, noise included. Below them the mean of all ends from the same three, and the real eight nearest to it.

times = np.linspace(0, 1, 5)
some = threes[:10]
paths = bridge.path(some, times, rng=1)
ends = bridge.mean(some)
nearest = eights[np.argmin(((ends[:, None] - eights) ** 2).sum(-1), axis=1)]
rows = [*paths, ends, nearest]

fig, axes = plt.subplots(len(rows), 10, figsize=(8, 6))
names = [f"t = {t:.2f}" for t in times] + ["mean end", "nearest 8"]
for row, name, points in zip(axes, names, rows, strict=True):
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for ax, point in zip(row, points, strict=True):
        ax.imshow((mean + V @ point).reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
fig.tight_layout()
plt.show()

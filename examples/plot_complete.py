"""
A photograph from a third of its pixels
=======================================

Smooth pictures are nearly low-rank. `complete` sees 35% of the pixels of a photograph, one
colour value each, finds the rank that predicts held-out ones best, and says how far off the
rest is.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from lowrank_la import complete

# %%
# The three colours stand side by side, as one matrix of 427 rows.

photograph = load_sample_image("china.jpg") / 255
M = np.concatenate([photograph[:, :, colour] for colour in range(3)], axis=1)
seen = np.random.default_rng(0).random(M.shape) < 0.35

# %%
# NaN means missing. Colours have a mean, and rows and columns of their own brightness.

start = time.perf_counter()
result = complete(np.where(seen, M, np.nan), bias=True, rng=0)
print(f"{time.perf_counter() - start:.1f} s")
print(result)

# %%
# The certificate is a bound on the error over the pixels that were not fitted. Here they are known.

restored = result.to_dense()
error = np.sqrt(np.mean((restored - M)[~seen] ** 2))
print(f"error {error:.4f}, certified {result.certificate.bound:.4f}, rank {result.rank}")

# %%
# Before, after, and the way there.


def picture(matrix):
    return np.clip(np.stack(np.split(matrix, 3, axis=1), axis=2), 0, 1)


figure, axes = plt.subplots(1, 3, figsize=(12, 3), layout="constrained")
for axis, title, matrix in zip(axes, ("35% seen", "restored", "photograph"), (M * seen, restored, M), strict=True):
    axis.imshow(picture(matrix))
    axis.set_title(title)
    axis.axis("off")
result.plot()
plt.show()

"""
The leading eigenvector of image patches that pass by once
==========================================================

Patches of two photographs come as a stream: shuffled, or as a scanner would deliver them. Their
leading eigenvectors are edges. The picture shows how well each method knows the first one after so
many rows, and the first six, found in one pass.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images

from lowrank_la import ConvergenceWarning, TopEigenvector

warnings.simplefilter("ignore", ConvergenceWarning)  # young streams know little

# %%
# Patches of 12 x 12 gray pixels without their means, line by line.

images = [image.mean(axis=2, dtype=np.float32) / 255 for image in load_sample_images().images]
views = [np.lib.stride_tricks.sliding_window_view(image, (12, 12))[::3, ::3] for image in images]
scanned = np.concatenate([view.reshape(-1, 144) for view in views])
scanned -= scanned.mean(axis=1, keepdims=True)
shuffled = np.random.default_rng(0).permutation(scanned)
v1 = np.linalg.eigh(scanned.T @ scanned)[1][:, -1]

# %%
# Each method sees every row once, and is asked from time to time. The whole Gram matrix is the best that can be known.

stops = np.unique(np.geomspace(500, len(scanned), 24).astype(int))


def errors(rows, **options):
    stream, known = TopEigenvector(144, rng=0, **options), []
    for chunk in np.split(rows, stops[:-1]):
        known.append(1 - (stream.partial_fit(chunk).result().v @ v1) ** 2)
    return known


figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=[3, 2])
left.loglog(stops, errors(shuffled, method="gram"), "k:", label="shuffled, whole Gram matrix")
left.loglog(stops, errors(shuffled), "C0o-", label="shuffled, blocks")
left.loglog(stops, errors(scanned, method="gram"), "0.6", linestyle="--", label="scanned, whole Gram matrix")
left.loglog(stops, errors(scanned, order="arbitrary", method="oja"), "C1s-", label="scanned, oja")
left.loglog(stops, errors(scanned), "C3x-", label="scanned, blocks (wrongly)")
left.set(xlabel="rows so far", ylabel="$1 - (v \\cdot v_1)^2$", ylim=(1e-4, 2))
left.legend(fontsize=8, loc="lower left")

result = TopEigenvector(144, n_vectors=6, rng=0).partial_fit(shuffled).result()
print(result)
tiles = result.V.T.reshape(2, 3, 12, 12).transpose(0, 2, 1, 3).reshape(24, 36)
right.imshow(tiles, cmap="gray")
right.set(title="six leading eigenvectors", xticks=[], yticks=[])
plt.show()

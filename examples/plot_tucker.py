"""
Photographs as a tensor
=======================

Height, width and colour: a photograph has three modes, and `tucker` compresses all of them at once. The certificate is the error, so that
a tolerance is a promise.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from lowrank_la import tucker

# %%
# The flower that scikit-learn bundles: 427 x 640 pixels of three colours, from 0 to 1.

photo = load_sample_image("flower.jpg") / 255.0
print(tucker(photo, tol=0.1, rng=0))

# %%
# Ranks for one tolerance after the other. Two colours are enough for a tenth of the norm; the third one costs little.

tolerances = [0.3, 0.2, 0.14, 0.1, 0.07, 0.05, 0.035]
answers = [tucker(photo, tol=tol, rng=0) for tol in tolerances]
for tol, answer in zip(tolerances, answers, strict=True):
    print(f"tol = {tol:5.3f}: ranks {answer.ranks}, error {answer.relative_error:.4f}, {answer.saving:.1f} times fewer numbers")

# %%
# The same error by singular value decompositions of the three colours apart, with the same rank for each.

size, singular = np.linalg.norm(photo), np.linalg.svd(photo.transpose(2, 0, 1), compute_uv=False)
apart = []
for tol in tolerances:
    rank = next(r for r in range(428) if np.linalg.norm(singular[:, r:]) <= tol * size)
    apart.append(427 * 640 / (rank * (427 + 640)))

figure, axes = plt.subplots(1, 4, figsize=(13, 3), layout="constrained", width_ratios=[1, 1, 1, 1.1])
for axis, (title, image) in zip(
    axes,
    [
        ("original", photo),
        (f"error 10%, {answers[3].saving:.0f} times fewer numbers", answers[3].to_dense()),
        (f"error 20%, {answers[1].saving:.0f} times fewer numbers", answers[1].to_dense()),
    ],
    strict=False,
):
    axis.imshow(np.clip(image, 0, 1))
    axis.set(title=title, xticks=[], yticks=[])
axes[3].semilogx([answer.saving for answer in answers], tolerances, "o-", label="tucker")
axes[3].semilogx(apart, tolerances, "x--", label="each colour apart")
axes[3].set(xlabel="times fewer numbers", ylabel="relative error")
axes[3].set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
axes[3].legend()
plt.show()

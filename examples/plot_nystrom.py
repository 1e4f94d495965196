"""
Which landmarks stand for all points?
=====================================

A kernel matrix of n points is approximated from the columns of a few. Uniform landmarks miss what is
rare, greedy ones chase outliers; drawn where the approximation is worst, they do neither.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from lowrank_la import nystrom
from lowrank_la.kernel_methods import RBF

METHODS = ["uniform", "greedy", "rpcholesky", "kmeans"]

# %%
# A face: nearly all points are on the circle, few in the eyes.

rng = np.random.default_rng(0)
turn, mouth = 2 * np.pi * rng.random(4000), rng.uniform(-5, 5, 450)
circle, radius, angle = 10 * np.stack([np.cos(turn), np.sin(turn)], axis=1), rng.random(60) ** 0.5, 2 * np.pi * rng.random(60)
eyes = np.stack([radius * np.cos(angle) + np.repeat([-4, 4], 30), radius * np.sin(angle) + 4], axis=1)
face = np.concatenate([circle, np.stack([mouth, mouth**2 / 16 - 5], axis=1), eyes])

# %%
# Forty landmarks by each rule. The share of the trace that is missing is known exactly, and bounds every error.

chosen = {method: nystrom(face, kernel=RBF(2.0), rank=40, method=method, rng=1) for method in METHODS}
print(chosen["rpcholesky"])

# %%
# Real data: 1797 handwritten digits of 64 pixels. The eigenvalues of the whole matrix tell the least error that is possible.

X = load_digits().data
kernel = nystrom(X, rank=1, rng=0).kernel
eigenvalues = np.linalg.eigvalsh(kernel(X, X))[::-1]
ranks = [10, 20, 40, 80, 160, 320]
errors = {
    m: [np.mean([nystrom(X, kernel=kernel, rank=k, method=m, rng=s).relative_error for s in range(3)]) for k in ranks] for m in METHODS
}

# %%
# Landmarks on the face, and errors for the digits.

figure, axes = plt.subplot_mosaic([[*METHODS[:2], "digits"], [*METHODS[2:], "digits"]], figsize=(11, 6.5), layout="constrained")
for method in METHODS:
    axes[method].plot(*face.T, ".", color="lightgray", markersize=2)
    axes[method].plot(*chosen[method].landmarks.T, "o", color="tab:red", markersize=4)
    axes[method].set(title=f"{method}: {chosen[method].relative_error:.2%} missing", aspect="equal", xticks=[], yticks=[])
    axes["digits"].loglog(ranks, errors[method], "o-", label=method)
axes["digits"].loglog(ranks, [1 - eigenvalues[:k].sum() / len(X) for k in ranks], "k:", label="least possible")
axes["digits"].set(title="handwritten digits", xlabel="landmarks", ylabel="share of the trace missing")
axes["digits"].set_xticks(ranks, ranks)
axes["digits"].minorticks_off()
axes["digits"].legend()
plt.show()

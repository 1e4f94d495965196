"""
Gross outliers, and a few hundred rows instead of all
=====================================================

Pairs of patients, explained by the differences of their blood values; a tenth of the outcomes
carries gross errors. Least squares follows them, p = 1 does not, and a few hundred well-chosen
rows say nearly the same as all 97461.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

from lowrank_la import lp_regression, sample_rows, sketch_lstsq

# %%
# The bundled diabetes data. Every pair of patients gives one row; one patient in ten was entered in wrong units.

X, y = load_diabetes(return_X_y=True)
i, j = np.triu_indices(len(y), 1)
A, clean = X[i] - X[j], y[i] - y[j]
wrong = np.random.default_rng(0).choice(len(y), len(y) // 10, replace=False)
spoilt = y.copy()
spoilt[wrong] *= 20
b = spoilt[i] - spoilt[j]

# %%
# The same fit for p = 2 and p = 1. The second is exact, and says so: the gap bounds how far it is from the minimum.

truth = lp_regression(A, clean, 1, rng=0).x
squares = sketch_lstsq(A, b, rng=0).x
absolute = lp_regression(A, b, 1, rng=0)
print(absolute)

# %%
# Rows of [A b] by Lewis weights, more and more of them; each fit again without looking at the other rows.

sizes, excess = [250, 500, 1000, 2000, 4000, 8000], []
for size in sizes:
    fits = [sample_rows(A, 1, b=b, size=size, eps=0.99, rng=seed) for seed in range(5)]
    fits = [lp_regression(rows.apply(A), rows.apply(b), 1, rng=0).x for rows in fits]
    excess.append([np.abs(A @ x - b).sum() / absolute.objective - 1 for x in fits])

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
names = load_diabetes().feature_names
for x, label, mark in [(truth, "without errors", "o"), (squares, "least squares", "x"), (absolute.x, "p = 1", "+")]:
    left.plot(names, x, mark, label=label, markersize=9)
left.set(title="coefficients", yscale="symlog")
left.legend()
right.loglog(sizes, excess, ".", color="gray")
right.loglog(sizes, np.mean(excess, axis=1), "o-")
right.set_xticks(sizes, sizes)
right.minorticks_off()
right.set(title=f"fits on a few of {len(b)} rows", xlabel="rows", ylabel="objective on all rows / minimum - 1")
plt.show()

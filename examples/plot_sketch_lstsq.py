"""
Regression with error bars for the arithmetic
=============================================

Differences between patients, explained by cubic polynomials of their blood values: a tall
matrix whose columns are nearly dependent. `sketch_lstsq` solves it faster than LAPACK, and
its certificate says how many digits of each coefficient the computer got right.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import PolynomialFeatures

from lowrank_la import sketch_lstsq

# %%
# The bundled diabetes data: 442 patients. Every pair of patients gives one row, the
# difference of their features and of their outcomes.

X, y = load_diabetes(return_X_y=True)
features = PolynomialFeatures(3, include_bias=False).fit_transform(X[:, [2, 3, 6, 7, 8]])
i, j = np.triu_indices(len(y), 1)
A, b = features[i] - features[j], y[i] - y[j]
print(A.shape, f"condition {np.linalg.cond(features):.0e} before differences")

# %%
# Solve it both ways. The first call compiles, so it does not count.

sketch_lstsq(A[:9000], b[:9000], method="cholqr", rng=0)
start = time.perf_counter()
result = sketch_lstsq(A, b, rng=0)
ours = time.perf_counter() - start
start = time.perf_counter()
x_lapack = np.linalg.lstsq(A, b)[0]
theirs = time.perf_counter() - start
print(result)
print(f"{ours:.3f} s against {theirs:.3f} s for LAPACK")

# %%
# Each bar is an error that the certificate guarantees; the crosses show by how much
# LAPACK's answer differs.

size = abs(result.x)
order = np.argsort(size)
plt.figure(figsize=(8, 4))
plt.semilogy(result.x_bound[order] / size[order], "o", label="certified relative error of sketch_lstsq")
plt.semilogy(abs(x_lapack - result.x)[order] / size[order], "x", label="difference to LAPACK")
plt.axhline(np.finfo(float).eps, color="gray", linewidth=1, label="spacing of float64")
plt.xlabel("coefficient, by size")
plt.legend()
plt.tight_layout()
plt.show()

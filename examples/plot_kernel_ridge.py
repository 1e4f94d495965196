"""
Kernel ridge regression that knows its error
============================================

Blood values of diabetes patients and how the disease went on. Leave-one-out errors choose the
ridge, a Nystrom preconditioner makes conjugate gradients fast, and a fit on a few centres says
how far it is from the fit on all patients.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes

from lowrank_la.kernel_methods import kernel_ridge, kernel_ridge_path

# %%
# The bundled diabetes data. Leave-one-out errors for 41 ridges come from one eigendecomposition, exact and without fitting again.

X, y = load_diabetes(return_X_y=True, scaled=False)
X, y = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
path = kernel_ridge_path(X, y, kernel="matern", rng=0)
best = kernel_ridge(X, y, kernel="matern", ridge=path.ridge, rng=0)
print(best)
print("explained variance, leave-one-out:", 1 - np.mean(best.leave_one_out() ** 2))

# %%
# Conjugate gradients with more and more columns in the preconditioner, and fits on few centres with their bounds.

curves = {}
options = {"kernel": "matern", "ridge": path.ridge, "rng": 0}
for rank in (1, 10, 50):
    curve = curves.setdefault(f"{rank}", [])
    kernel_ridge(X, y, solver="pcg", rank=rank, callback=lambda state, curve=curve: curve.append(state.residual[0]), **options)
sizes, errors, bounds = [10, 20, 40, 80, 160, 320], [], []
for size in sizes:
    f, bound = kernel_ridge(X, y, solver="nystrom", rank=size, **options).predict(X + 0.1, return_bound=True)
    errors.append(abs(f - best.predict(X + 0.1)).max())
    bounds.append(bound.max())

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
left.semilogx(path.ridges, path.loo, label="leave-one-out")
left.semilogx(path.ridges, path.gcv, "--", label="generalized cross-validation")
left.plot(path.ridge, path.loo.min(), "o", color="black")
left.set(xlabel="ridge", ylabel="mean squared error", ylim=(0.4, 1.2), title="which ridge?")
for rank, curve in curves.items():
    middle.semilogy(np.arange(1, len(curve) + 1), curve, ".-", label=rank)
middle.set(xlabel="iterations", ylabel="relative residual", title="columns of the preconditioner")
right.loglog(sizes, bounds, "o--", label="certified")
right.loglog(sizes, errors, "o-", label="true")
right.set(xlabel="centres", ylabel="largest error at new points", title="how far from the fit on all points?")
for axis in (left, middle, right):
    axis.legend()
plt.show()

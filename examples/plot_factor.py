"""
Error against time for low-rank factorizations
==============================================

A photograph, a table of features and a graph, each at a fixed rank. Left is faster, down is
closer to the best approximation of that rank.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse import csr_array, issparse
from scipy.sparse.linalg import svds
from sklearn.datasets import load_digits, load_sample_image
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.extmath import randomized_svd

from lowrank_la.factor import cur, interpolative, svd

# %%
# Three colours side by side; products of two pixels of handwritten digits; a million edges, crowded at a few nodes.

photograph = np.concatenate(list(np.moveaxis(load_sample_image("china.jpg") / 255, 2, 0)), axis=1)
features = PolynomialFeatures(2).fit_transform(load_digits().data / 16)
places = (100_000 * np.random.default_rng(0).random((2, 1_000_000)) ** 3).astype(int)
graph = csr_array((np.ones(1_000_000), places), shape=(100_000, 100_000))
matrices = {"photograph": (photograph, 40), "digit features": (features, 40), "graph": (graph, 10)}

# %%
# Every method returns a left and a right factor. The first three can trade time for accuracy, by q.

methods = {
    "svd": lambda A, k, q: (lambda r: (r.U * r.s, r.V.T))(svd(A, k, n_iter=q, rng=0)),
    "scikit-learn": lambda A, k, q: (lambda U, s, Vh: (U * s, Vh))(*randomized_svd(A, k, n_iter=q, random_state=0)),
    "ARPACK": lambda A, k, q: (lambda U, s, Vh: (U * s, Vh))(*svds(A, k, tol=10.0**-q, rng=0)),
    "LAPACK": lambda A, k, _: (lambda U, s, Vh: (U[:, :k] * s[:k], Vh[:k]))(*np.linalg.svd(A, full_matrices=False)),
    "interpolative": lambda A, k, _: (lambda r: (r.skeleton, r.X))(interpolative(A, k, rng=0)),
    "cur": lambda A, k, _: (lambda r: (r.C, r.U @ r.R))(cur(A, k, rng=0)),
}

figure, panels = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for panel, (title, (A, k)) in zip(panels, matrices.items(), strict=True):
    points = {}
    for name in list(methods)[: 3 if issparse(A) else None]:
        for q in (0, 1, 2, 4) if name in list(methods)[:3] else (0,):
            clock = [time.perf_counter()]
            for _ in range(2):  # the better of two: compilation does not count
                L, R = methods[name](A, k, q)
                clock.append(time.perf_counter())
            squared = (A * A).sum() - 2 * np.sum((A.T @ L).T * R) + np.sum((L.T @ L) * (R @ R.T))
            points.setdefault(name, []).append((min(np.diff(clock)), squared))
    best = min(squared for curve in points.values() for _, squared in curve)
    for name, curve in points.items():
        panel.loglog(*np.transpose([(seconds, max((error / best) ** 0.5 - 1, 1e-6)) for seconds, error in curve]), "o-", label=name)
    panel.set(title=f"{title}, {A.shape[0]} x {A.shape[1]}, rank {k}", xlabel="seconds", ylabel="error / best error - 1")
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(methods))
plt.show()

"""
Put a photograph together again from its gradients
==================================================

A photograph is known by the sum of its second differences only: Poisson's equation gives it back.
A direction map, fitted to solutions for random right-hand sides, takes a third of the steps of
conjugate gradients, and cannot make the answer wrong.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.sparse import diags_array, eye_array, kron
from scipy.sparse.linalg import spsolve
from sklearn.datasets import load_sample_image

from lowrank_la.solvers import conjugate_directions, conjugate_gradients

# %%
# A bundled photograph, reduced to 30 x 30 pixels; `b` is what the five-point Laplacian leaves of it.

n = 30
photo = load_sample_image("flower.jpg")[:420, 100:520].mean(axis=2).reshape(n, 14, n, 14).mean(axis=(1, 3)) / 255
T = diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))
A = (kron(T, eye_array(n)) + kron(eye_array(n), T)).tocsc()
b = A @ photo.ravel()

# %%
# Learning: the leading singular vectors of 400 solutions for noise span what residuals have in common; the map solves
# exactly there and leaves the rest to the residual itself. The photograph is not among the samples.

samples = spsolve(A, np.random.default_rng(0).standard_normal((n * n, 400)))
V = np.linalg.svd(samples, full_matrices=False)[0][:, :75]
C = np.linalg.inv(V.T @ (A @ V))

plain = conjugate_gradients(A, b)
learned = conjugate_directions(A, b, lambda r: r / 8 + V @ (C @ (V.T @ r)))
print(learned)

# %%
# What was given, what came back, one of the vectors that span the map, and the residuals of both iterations.

figure, axes = plt.subplots(1, 4, figsize=(15, 3.6), layout="constrained", width_ratios=[1, 1, 1, 1.6])
for axis, image, title in [
    (axes[0], b.reshape(n, n), "second differences"),
    (axes[1], learned.x.reshape(n, n), f"after {learned.n_iter} steps"),
    (axes[2], V[:, 4].reshape(n, n), "one of 75 learned vectors"),
]:
    axis.imshow(image, cmap="gray")
    axis.set(title=title, xticks=[], yticks=[])
axes[3].semilogy(plain.history / plain.history[0], label=f"conjugate gradients, {plain.n_iter} steps")
axes[3].semilogy(learned.history / learned.history[0], label=f"learned directions, {learned.n_iter} steps")
axes[3].set(title="relative residual", xlabel="products with the matrix")
axes[3].legend()
plt.show()

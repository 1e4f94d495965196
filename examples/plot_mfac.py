"""
Second-order pruning of a small network
=======================================

Gradients of single digits tell which weights of a trained network can go, and how the others make up for it.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from lowrank_la import MFAC

# %%
# A network 64-40-10 for handwritten digits, and the gradient of each sample with respect to its 2960 weights.

X, X_test, y, y_test = train_test_split(load_digits().data / 16, load_digits().target, random_state=0)
network = MLPClassifier((40,), alpha=1e-2, max_iter=400, random_state=0).fit(X, y)
start = np.concatenate([W.ravel() for W in network.coefs_])


def forward(w, X):
    hidden = np.maximum(X @ w[:2560].reshape(64, 40) + network.intercepts_[0], 0)
    scores = np.exp(hidden @ w[2560:].reshape(40, 10) + network.intercepts_[1])
    return hidden, scores / scores.sum(axis=1, keepdims=True)


def gradients(w, X, y):
    hidden, p = forward(w, X)
    outer = p - np.eye(10)[y]
    inner = (outer @ w[2560:].reshape(40, 10).T) * (hidden > 0)
    return np.concatenate([(a[:, :, None] * e[:, None, :]).reshape(len(X), -1) for a, e in ((X, inner), (hidden, outer))], axis=1)


# %%
# One weight in ten goes at a time: the smallest, or those whose loss the others can make up for, which then do.

accuracy, shares = {"smallest weights": [], "MFAC": []}, 0.9 ** np.arange(38)
for name, values in accuracy.items():
    w, alive = start.copy(), np.arange(len(start))
    for _ in shares:
        values.append(np.mean(forward(w, X_test)[1].argmax(axis=1) == y_test))
        fisher = MFAC(gradients(w, X[:600], y[:600])[:, alive], damp=1e-5)
        scores = fisher.pruning_scores(w[alive]) if name == "MFAC" else np.abs(w[alive])
        drop = np.argsort(scores)[: len(alive) // 10]
        w[alive[drop]] = 0 if name != "MFAC" else w[alive[drop]]
        w[alive] = fisher.pruning_update(w[alive], drop) if name == "MFAC" else w[alive]
        alive = np.delete(alive, drop)

for name, values in accuracy.items():
    plt.semilogx(shares, values, "o-", label=name)
plt.gca().invert_xaxis()
plt.title("pruning without retraining")
plt.xlabel("share of the weights that is left")
plt.ylabel("accuracy on other digits")
plt.legend()
plt.show()

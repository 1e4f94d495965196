"""
Fewer steps, and fewer weights, by curvature
============================================

A small network learns digits by four optimizers. Then most weights are removed, by magnitude or by what the others can make up for.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

from lowrank_la import limit_threads
from lowrank_la.adapters.compress import obs_prune
from lowrank_la.adapters.optim import MFAC

X, y = (torch.from_numpy(a)[torch.randperm(1797, generator=torch.Generator().manual_seed(0))] for a in load_digits(return_X_y=True))
X, y, X_test, y_test = X[:1400].float() / 16, y[:1400], X[1400:].float() / 16, y[1400:]


def output(w, X):  # of a network of 64, 32 and 10 units, whose weights are one vector
    A, a, B, b = w.split([32 * 64, 32, 10 * 32, 10])
    return torch.relu(X @ A.reshape(32, 64).T + a) @ B.reshape(10, 32).T + b


# %%
# All start alike and see the same batches. The others have the best step length of several; ours has its defaults.

SGD, Adam, curves, weights = torch.optim.SGD, torch.optim.Adam, {}, {}
kinds = {"SGD": (SGD, {"lr": 1.0}), "SGD, momentum": (SGD, {"lr": 0.2, "momentum": 0.9}), "Adam": (Adam, {"lr": 0.03}), "MFAC": (MFAC, {})}
for name, (kind, options) in kinds.items():
    generator, curves[name] = torch.Generator().manual_seed(0), []
    w = weights[name] = torch.nn.Parameter((torch.rand(2410, generator=generator) - 0.5) / 3)
    optimizer = kind([w], **options)
    with limit_threads(1):  # a second thread does not pay for a network of this size
        for _ in range(200):
            rows = torch.randint(len(X), (64,), generator=generator)
            optimizer.zero_grad()
            cross_entropy(output(w, X[rows]), y[rows]).backward()
            optimizer.step()
            curves[name].append(cross_entropy(output(w, X), y).item())

# %%
# Prune what Adam has found: in each round, the gradients of 512 images at its weights say what matters.

w, sparsities = weights["Adam"].detach(), [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93]
gradients = torch.func.vmap(torch.func.grad(lambda w, x, label: cross_entropy(output(w, x[None]), label[None])), (None, 0, 0))
pruned = {"by magnitude": [torch.where(w.abs() < w.abs().quantile(s), 0, w) for s in sparsities]}
with limit_threads(1):
    pruned["obs_prune"] = [obs_prune(w, lambda w: gradients(w, X[:512], y[:512]), sparsity=s).weights for s in sparsities]

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.semilogy(torch.tensor(list(curves.values())).T, label=list(curves))
for name, found in pruned.items():
    right.plot(sparsities, [torch.mean((output(v, X_test).argmax(1) == y_test).double()) for v in found], "o-", label=name)
left.set(title="training", xlabel="step", ylabel="loss on all training images")
right.set(title="pruning", xlabel="share of the weights that is removed", ylabel="accuracy on test images")
_ = left.legend(), right.legend()
plt.show()

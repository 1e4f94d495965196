"""
A digit flows into another, with and without variance reduction
===============================================================

Ink of a handwritten 8 moves along the gradient of the sliced Wasserstein distance until it is a 3. Each step looks at 16
directions. Control variates make the loss at the start far more accurate; after a few steps only details are left that they do
not see. The noise of the gradients, which dies down with the distance, hardly slows the flow.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

from lowrank_la.sliced import sliced_wasserstein

# %%
# Two bundled images as clouds of 800 points, drawn in proportion to the ink of each pixel.

images, labels = load_digits(return_X_y=True)
rng = np.random.default_rng(0)


def cloud(digit):
    ink = images[np.flatnonzero(labels == digit)[1]]
    pixel = rng.choice(64, 800, p=ink / ink.sum())
    return torch.tensor(np.stack([pixel % 8, 7 - pixel // 8], axis=1) + rng.uniform(-0.5, 0.5, (800, 2)))


source, target = cloud(8), cloud(3)
print(sliced_wasserstein(source, target, rng=0))

# %%
# Gradient descent on the squared distance, with new directions in each step; how far the points still are is measured with 1000 others.

STEPS, SHOWN = 150, (0, 3, 10, 150)
flows, left, wrong = {}, {}, {}
for mode in ("none", "orthogonal", "auto"):
    points = source.clone().requires_grad_()
    flows[mode], left[mode], wrong[mode] = [source], [], []
    for step in range(STEPS):
        loss = sliced_wasserstein(points, target, n_projections=16, variance_reduction=mode, rng=step).value_p
        (gradient,) = torch.autograd.grad(loss, points)
        exact = sliced_wasserstein(points.detach(), target, n_projections=1000, rng=10**6).value_p
        left[mode].append(exact**0.5)
        wrong[mode].append(abs(loss.item() - exact) / exact)
        points = (points - 0.5 * len(points) * gradient).detach().requires_grad_()
        flows[mode].append(points.detach())
figure, axes = plt.subplots(1, len(SHOWN) + 2, figsize=(15, 3), layout="constrained", width_ratios=[1] * len(SHOWN) + [1.4] * 2)
for axis, step in zip(axes, SHOWN, strict=False):
    axis.scatter(*flows["auto"][step].T, s=2)
    axis.set(title=f"step {step}", aspect="equal", xticks=[], yticks=[], xlim=(-1, 8), ylim=(-1, 8))
for mode in flows:
    axes[-2].loglog(range(1, STEPS + 1), left[mode], label=mode)
    axes[-1].loglog(range(1, STEPS + 1), wrong[mode], ".-", linewidth=0.5, markersize=4, label=mode)
axes[-2].set(xlabel="step", title="distance from the target")
axes[-1].set(xlabel="step", title="relative error of the loss")
axes[-1].legend()
plt.show()

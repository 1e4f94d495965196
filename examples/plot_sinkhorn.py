"""
The colours of one photograph on another
========================================

Two photographs that scikit-learn bundles. An optimal transport plan moves the colours of a summer palace to those of a flower
at the least total change, and a bracket says how far the plan is from the very best one.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial import cKDTree
from sklearn.datasets import load_sample_image

from lowrank_la.transport import sinkhorn

# %%
# Two clouds of colours, each a random sample of the pixels.

palace, flower = (load_sample_image(name)[::2, ::2] / 255 for name in ("china.jpg", "flower.jpg"))
rng = np.random.default_rng(0)
X, Y = (rng.permutation(image.reshape(-1, 3))[:2000] for image in (palace, flower))

# %%
# The plan, from rough to sharp; each solution starts the next. The bracket is that of the least cost without regularisation.

regs, results, start = [0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4], [], None
for reg in regs:
    results.append(sinkhorn((X, Y), reg=reg, init=start))
    start = results[-1].f, results[-1].g
print(results[-1])


# %%
# Each colour of the sample goes to the mean of its partners; every other pixel moves like the nearest colour of the sample.


def moved(result):
    shift = result.barycentric() - X
    nearest = cKDTree(X).query(palace.reshape(-1, 3))[1]
    return np.clip(palace + shift[nearest].reshape(palace.shape), 0, 1)


# %%
# Much regularisation averages colours to grey; little of it keeps the contrast of the flower, and the bracket closes.

figure, axes = plt.subplots(2, 3, figsize=(11, 6.2), layout="constrained")
rough, sharp = moved(results[0]), moved(results[-1])
titles = "the palace", "the colours of the flower", f"reg = {regs[0]}", f"reg = {regs[-1]}"
for ax, image, title in zip(axes.flat, (palace, flower, rough, sharp), titles, strict=False):
    ax.imshow(image)
    ax.set(title=title, xticks=[], yticks=[])
axes[1, 1].fill_between(regs, [r.lower_bound for r in results], [r.upper_bound for r in results], alpha=0.4)
axes[1, 1].set(xscale="log", xlabel="reg", title="bracket of the least cost")
order = np.argsort(Y.mean(1)), np.argsort(X.mean(1))
P = results[2].plan()[order[1]][:, order[0]].reshape(100, 20, 100, 20).sum((1, 3))
axes[1, 2].imshow(P, cmap="magma_r")
axes[1, 2].set(title=f"the plan, reg = {regs[2]}", xlabel="flower, dark to light", ylabel="palace", xticks=[], yticks=[])
plt.show()

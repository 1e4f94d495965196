"""
A dictionary for a stream of images
===================================

Images of handwritten digits arrive one kind after the other, and none is kept but those in a small dictionary. It grows quickly while
new digits come, and at half that pace with more of the same; a certificate says how well it stands for all that came.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from lowrank_la.kernel_methods import RBF, SequentialNystrom

# %%
# The bundled digits: zeros first, then ones, and so on; then all of them again and again, with noise, in random order.

rng = np.random.default_rng(0)
images, labels = load_digits(return_X_y=True)
order = np.argsort(labels, kind="stable")
again = np.concatenate([images[rng.permutation(len(images))] for _ in range(4)])
X = np.concatenate([images[order], again + rng.standard_normal(again.shape)])
firsts = np.flatnonzero(np.diff(labels[order], prepend=-1))

# %%
# One pass, in pieces as they come. After each piece: how many images are kept, and what is known without looking back.

stream, seen, kept, error, bound, truth = SequentialNystrom(RBF(40.0), ridge=10.0, rng=0), [], [], [], [], []
for piece in np.array_split(X, 40):
    result = stream.partial_fit(piece).result()
    seen.append(result.n_rows)
    kept.append(len(result.indices))
    error.append(result.relative_error)
    bound.append(result.certificate.bound / result.n_rows)
    truth.append(result.certify(X[: result.n_rows]).relative_error)
print(result)

# %%
# The images with the highest probabilities are those that no others can stand for.

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
left.plot(seen, kept, "o-", markersize=3)
for first in firsts:
    left.axvline(first, color="lightgray", zorder=0)
left.set(xlabel="images so far; a new digit at each line", ylabel="images in the dictionary", ylim=(0, None))
middle.semilogy(seen, bound, "-", color="gray", label="certified, 99 in 100")
middle.semilogy(seen, error, "o", markersize=3, label="estimated from 1024 held back")
middle.semilogy(seen, truth, "-", label="measured afterwards")
middle.set(xlabel="images so far", ylabel="trace(K - K~) / trace(K)")
middle.legend()
rare = result.points[np.argsort(-result.probabilities)[:40]].reshape(5, 8, 8, 8)
right.imshow(rare.transpose(0, 2, 1, 3).reshape(40, 64), cmap="gray_r")
right.set(title="most unlike the others", xticks=[], yticks=[])
plt.show()

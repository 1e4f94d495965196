"""
A photograph through unknown gains
==================================

Coded masks before a lens, a detector in its Fourier plane whose channels have unknown gains: which blurs the photograph. Both
are found together, and every gain gets an error bar.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from lowrank_la import self_calibrate
from lowrank_la.calibration import CodedFourier

# %%
# The flower that scikit-learn bundles, in shades of grey, 160 x 240 pixels, seen through 6 masks of signs. Gains have sizes between 0.5
# and 1.5 and smooth phases; 2% of noise.

photo = load_sample_image("flower.jpg")[100:420:2, 100:580:2].mean(axis=2) / 255.0
grid, rng = photo.shape, np.random.default_rng(0)
A = CodedFourier(rng.choice([-1.0, 1.0], (6, *grid)), dims=2)
waves = [np.fft.fftfreq(n) for n in grid]
gains = rng.uniform(0.5, 1.5, grid) * np.exp(40j * np.add.outer(waves[0] ** 2, np.sin(6 * waves[1])))
clean = gains.ravel() * A.apply(photo.ravel())
noise = rng.standard_normal(clean.shape) + 1j * rng.standard_normal(clean.shape)
Y = clean + 0.02 * np.sqrt(np.mean(abs(clean) ** 2) / 2) * noise

# %%
# One call, by transforms alone. Without calibration, gains of one leave a blur.

result = self_calibrate(Y, A, model="repeated", max_iter=20)
print(result.verdict, result.certificate, sep="\n")
blurred = A.adjoint(Y).mean(axis=0).real.reshape(grid)

# %%
# The scale that gains and signal share is free: the truth sets it for the pictures.

scale = np.vdot(result.d, gains) / np.vdot(result.d, result.d)
found = (result.x / scale).real.reshape(grid)
for name, image in {"self-calibrated": found, "gains taken for one": blurred}.items():
    print(f"{name}: error {np.linalg.norm(image - photo) / np.linalg.norm(photo):.3f}")

figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained")
for ax, image, title in zip(axes.flat, (photo, blurred, found), ("the photograph", "gains taken for one", "self-calibrated"), strict=False):
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])
some = np.arange(0, gains.size, gains.size // 40)
d, error, truth = abs(scale * result.d)[some], abs(scale) * result.d_error[some], abs(gains.ravel())[some]
axes[1, 1].errorbar(truth, d, 2 * error, fmt=".", capsize=2)
axes[1, 1].plot([0.4, 1.6], [0.4, 1.6], "k:")
axes[1, 1].set(title="40 gains, two standard errors", xlabel="true size", ylabel="size found")
plt.show()

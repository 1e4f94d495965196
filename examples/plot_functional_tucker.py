"""
A climate surface from part of its cells, with its uncertainty
==============================================================

Sixty-one years of monthly sea-surface temperatures of the Pacific off Peru, with a third of the cells and the whole second half
of 1997 hidden. A Tucker model with Gaussian processes along both axes fills them in, says how sure it is, and is right about that.
"""

import matplotlib.pyplot as plt
import numpy as np
from statsmodels.datasets import elnino

from lowrank_la import FunctionalTucker

# %%
# The data bundled with statsmodels, a row for each year. Coordinates are the month, which comes round after twelve, and the time in
# years: no grid is needed. Lengthscales, noise and the core are learned from the cells that are seen.

table = elnino.load_pandas().data
years, T, months = table["YEAR"].to_numpy(), table.to_numpy()[:, 1:], np.arange(12) + 0.5
hidden = np.random.default_rng(0).random(T.shape) < 1 / 3
hidden[years == 1997, 6:] = True
month, year = np.meshgrid(months, years)
coords = np.stack([month, year + month / 12], axis=-1)
model = FunctionalTucker(3, kernel=("periodic", "matern32"), period=(12, None), rng=0)
model.fit(coords[~hidden], T[~hidden])
print(model, model.lengthscales_, model.certificate_, sep="\n")

# %%
# The hidden cells: errors beside those of the mean of each month, and how many values are inside their 90% intervals.

mean, std = (x.reshape(T.shape) for x in model.predict(coords.reshape(-1, 2), return_std=True))
monthly = np.nanmean(np.where(hidden, np.nan, T), axis=0)
for label, error in [("model", mean - T), ("means of months", monthly - T)]:
    print(f"{label}: root mean squared error {np.sqrt(np.mean(error[hidden] ** 2)):.2f} degrees")
print(f"inside their intervals: {np.mean(np.abs(mean - T)[hidden] <= 1.645 * std[hidden]):.0%}")

# %%
# The surface, and 1997, when El Nino kept the sea warm: the model knows it from spring and from the months after.

figure, axes = plt.subplots(1, 3, figsize=(12, 4.5), layout="constrained", width_ratios=(1, 1, 1.4))
for ax, values, title in [(axes[0], np.where(hidden, np.nan, T), "cells that are seen"), (axes[1], mean, "mean of the model")]:
    image = ax.imshow(values, extent=(0, 12, 2010.5, 1949.5), aspect="auto", cmap="inferno", vmin=T.min(), vmax=T.max())
    ax.set(title=title, ylabel="year")
figure.colorbar(image, ax=axes[:2], label="degrees Celsius")
t, at = np.linspace(0, 12, 121), years == 1997
middle, spread = model.predict(np.stack([t, 1997 + t / 12], axis=1), return_std=True)
axes[2].fill_between(t, middle - 1.645 * spread, middle + 1.645 * spread, alpha=0.3, label="90% band")
axes[2].plot(t, middle, label="mean of the model")
axes[2].plot(months, np.where(hidden, np.nan, T)[at][0], "ko", label="seen")
axes[2].plot(months, np.where(hidden, T, np.nan)[at][0], "kx", label="hidden")
axes[2].plot(months, monthly, ":", color="gray", label="means of months")
axes[2].set(title="1997", ylabel="degrees Celsius")
axes[2].legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3)
for ax in axes:
    ax.set_xticks(months, "JFMAMJJASOND")
plt.show()

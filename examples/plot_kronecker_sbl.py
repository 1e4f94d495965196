"""
A sparse spectrum in two dimensions, from a quarter of a table
==============================================================

Carbon dioxide over Mauna Loa, a table of years by weeks. Its spectrum has two axes: harmonics of the season, and slow
changes from year to year. Few of either matter, so that the spectrum lives on a product of two short lists, which sparse Bayesian
learning finds from half of the years and half of the weeks, without being told how many waves there are or how large the noise is.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.interpolate import RegularGridInterpolator
from statsmodels.datasets import co2

from lowrank_la import kronecker_sbl

# %%
# The data bundled with statsmodels, 36 years of 52 weeks. Of every two years one is used, drawn at random, and of every two weeks one. A
# cubic takes the trend out. Atoms are cosines and sines over years and over weeks: 35 times 51 unknowns, 18 times 26 measurements.

series, rng = co2.load_pandas().data["co2"].interpolate(), np.random.default_rng(0)
table = np.array([series[series.index.year == year].to_numpy()[:52] for year in range(1965, 2001)])
years, weeks = np.arange(36), np.arange(52)
y, w = (np.arange(0, n, 2) + rng.integers(0, 2, n // 2) for n in (36, 52))
time, used = years[:, None] + weeks / 52, np.ix_(y, w)
T = table - np.polynomial.Polynomial.fit(time[used].ravel(), table[used].ravel(), 3)(time)
angles = [2 * np.pi * np.outer(t, np.arange(1, (t.size + 1) // 2)) / t.size for t in (years, weeks)]
slow, season = (np.hstack([np.ones((a.shape[0], 1)), np.cos(a), np.sin(a)]) for a in angles)

# %%
# The support lists the waves that are in use. Those of the season are cosine (1 to 25) and sine (26 to 50) of the year and of the half
# year; over the years only the constant is left: the season is the same in each.

result = kronecker_sbl(T[used], [slow[y], season[w]], rng=0)
print(result)
fit = slow @ result.x @ season.T

# %%
# Least squares of least norm explains the same entries by all waves at once and says nothing about the others. Lines between neighbours
# predict them a little better than four waves do, since what remains is not white; but they know no waves.

least = np.linalg.pinv(slow[y]) @ T[used] @ np.linalg.pinv(season[w]).T
lines = RegularGridInterpolator((y, w), T[used], bounds_error=False, fill_value=None)(tuple(np.meshgrid(years, weeks, indexing="ij")))
others = np.delete(np.arange(T.size), np.ravel_multi_index(used, T.shape).ravel())
for name, x in [("sparse", fit), ("lines", lines), ("least norm", slow @ least @ season.T), ("nothing", 0 * T)]:
    print(f"{name}: error of the other entries {np.sqrt(np.mean((x - T).ravel()[others] ** 2)):.2f} ppm")

figure, panels = plt.subplots(1, 3, figsize=(14, 4), layout="constrained", width_ratios=(1, 1.15, 1.5))
for panel, spectrum, title in zip(panels, (least, result.x), ("least squares of least norm", "sparse"), strict=False):
    image = panel.pcolormesh(np.abs(spectrum), norm="log", vmin=3e-3, vmax=3)
    panel.set(title=title, xlabel="level, 25 cosines, 25 sines of the season", ylabel="level, 17 cosines, 17 sines over the years")
figure.colorbar(image, ax=panels[1], label="amplitude, ppm")
panels[2].plot(1965 + time.ravel(), T.ravel(), color="0.75", lw=3, label="measured")
panels[2].plot(1965 + time.ravel(), fit.ravel(), label="sparse spectrum")
panels[2].plot(1965 + time[used].ravel(), T[used].ravel(), ".k", label="in use")
panels[2].set(xlim=(1980, 1985.9), ylim=(-7, 5), title="carbon dioxide without its trend, ppm")
panels[2].legend(loc="lower center", ncols=3)
plt.show()

"""
A sparse spectrum in two dimensions, from a quarter of the weeks
================================================================

Carbon dioxide over Mauna Loa, a table of years by weeks. Its spectrum has two axes: harmonics of the season, and slow
changes from year to year. Few of either matter, so that the spectrum lives on a product of two short lists, which
sparse Bayesian learning finds from 13 weeks of 52, without being told how many atoms there are or how large the noise is.
"""

import matplotlib.pyplot as plt
import numpy as np
from statsmodels.datasets import co2

from lowrank_la import kronecker_sbl

# %%
# The data bundled with statsmodels, 36 years of 52 weeks; each year only the same 13 weeks are used, drawn at random. A cubic
# takes the trend out. Atoms are waves over years and waves over weeks: 36 times 52 unknowns, 36 times 13 measurements.

series = co2.load_pandas().data["co2"].interpolate()
table = np.array([series[series.index.year == year].to_numpy()[:52] for year in range(1965, 2001)])
years, weeks = np.arange(36), np.arange(52)
time = years[:, None] + weeks / 52
kept = np.sort(np.random.default_rng(0).choice(52, 13, replace=False))
cubic = np.polynomial.Polynomial.fit(time[:, kept].ravel(), table[:, kept].ravel(), 3)
T = table - cubic(time)
slow, season = np.fft.fftshift(np.fft.fftfreq(36)), np.arange(-25, 27)
waves, seasons = np.exp(2j * np.pi * np.outer(years, slow)), np.exp(2j * np.pi * np.outer(weeks / 52, season))

# %%
# The support lists the harmonics of the year that are in use: the annual wave, the half-yearly one, and the level.

result = kronecker_sbl(T[:, kept].astype(complex), [waves, seasons[kept]], rng=0)
print(result)
print("harmonics of the season:", season[result.support[1]])
fit = (waves @ result.x @ seasons.T).real

# %%
# Least squares of least norm explains the same 13 weeks by all frequencies at once and says nothing about the others. A line from
# week to week predicts them a little better still, but knows no harmonics. These weeks suit the purpose: other draws miss some.

plain = waves.conj().T / 36 @ T[:, kept] @ np.linalg.pinv(seasons[kept]).T
guess = (waves @ plain @ seasons.T).real
line = np.interp(time.ravel(), time[:, kept].ravel(), T[:, kept].ravel()).reshape(T.shape)
others = np.setdiff1d(weeks, kept)
for name, x in [("sparse spectrum", fit), ("interpolation", line), ("least squares", guess), ("nothing", 0 * T)]:
    print(f"{name}: error of the other weeks {np.sqrt(np.mean((x - T)[:, others] ** 2)):.2f} ppm")

figure, panels = plt.subplots(1, 3, figsize=(14, 4), layout="constrained", width_ratios=(1, 1.15, 1.5))
for panel, spectrum, title in zip(panels, (plain, result.x), ("least squares of least norm", "sparse"), strict=False):
    image = panel.pcolormesh(season, slow, np.abs(spectrum), norm="log", vmin=3e-3, vmax=2, shading="nearest")
    panel.set(title=title, xlabel="cycles a year, from week to week", ylabel="cycles a year, from year to year")
figure.colorbar(image, ax=panels[1], label="amplitude, ppm")
panels[2].plot(1965 + time.ravel(), T.ravel(), color="0.75", lw=3, label="measured")
panels[2].plot(1965 + time.ravel(), fit.ravel(), label="sparse spectrum")
panels[2].plot(1965 + time[:, kept].ravel(), T[:, kept].ravel(), ".k", label="weeks in use")
panels[2].set(xlim=(1980, 1985), title="carbon dioxide, without its trend", ylabel="ppm")
panels[2].legend(loc="lower right")
plt.show()

"""
The potential of a crystal with a missing ion
=============================================

Rock salt, a cube of 1728 ions, one of them taken out. The smooth part of its potential is one
function on a box; ions nearby are added exactly. What each ion feels is its Madelung constant.
"""

import matplotlib.pyplot as plt
import numpy as np
from ase.build import bulk

from lowrank_la.functions import particle_potential

# %%
# Places of the ions, in Angstrom, come from the package `ase`. Charges are +1 and -1; 14.4 volts belong to a charge at one Angstrom.

VOLTS = 14.3996
crystal = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(6)
X = crystal.positions - crystal.positions.mean(axis=0)
charges = np.where(crystal.symbols == "Na", 1.0, -1.0)
missing = np.linalg.norm(X + 1.41, axis=1).argmin()
hole = X[missing]
X, charges = np.delete(X, missing, axis=0), np.delete(charges, missing)

# %%
# Ions closer than 6 Angstrom are the short range. The certificate bounds the error everywhere in the box.

potential = particle_potential(X, charges, cutoff=6.0)
print(potential)
print("ranks of the smooth part:", potential.long.ranks, " energy in electron volts:", VOLTS * potential.energy())

# %%
# A slice just above the layer with the hole; and the potential at the ions, in units of a charge at the next one.

low, high = potential.domain.T
x, y = np.linspace(low[0], high[0], 300), np.linspace(low[1], high[1], 300)
plane = np.stack(np.meshgrid(x, y, [hole[2] + 0.8], indexing="ij"), axis=-1)[:, :, 0]
madelung = -charges * potential(X) * 2.82
depth = np.abs(X).max() - np.abs(X).max(axis=1)

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
for axis, values, title in [(left, potential(plane), "potential, volts"), (middle, potential.long(plane), "smooth part, volts")]:
    most = VOLTS * np.percentile(np.abs(values), 98)
    image = axis.pcolormesh(x, y, VOLTS * values.T, cmap="RdBu_r", vmin=-most, vmax=most)
    axis.set(title=title, xlabel="Angstrom", aspect="equal")
    figure.colorbar(image, ax=axis)
right.scatter(np.linalg.norm(X - hole, axis=1), madelung, c=depth, s=6, cmap="viridis")
right.axhline(1.7475646, color="black", linewidth=1, label="infinite crystal")
right.set(title="potential felt by each ion", xlabel="distance from the hole, Angstrom", ylabel="Madelung constant")
right.legend()
plt.show()

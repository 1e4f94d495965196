"""
Where to measure an expensive function
======================================

A simulation takes minutes, so a polynomial is to stand in for it. Points that repel each other cover the domain evenly, with
more of them where polynomials are large; least squares on them is nearly as good as possible with twice as many points as unknowns.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp

from lowrank_la import ConvergenceWarning
from lowrank_la.dpp import Legendre, TensorBasis, christoffel_sample, repeated_dpp, total_degree, weighted_lstsq

warnings.simplefilter("ignore", ConvergenceWarning)  # some designs below have too few points on purpose

# %%
# A damped pendulum: its angle after two seconds, as a function of damping and of the angle at the start.


def simulate(x):
    damping, start = 0.5 + 0.4 * x[:, 0], 1.5 * x[:, 1] + 1.5
    motion = lambda t, y: np.concatenate([y[len(x) :], -9 * np.sin(y[: len(x)]) - damping * y[len(x) :]])  # noqa: E731
    return solve_ivp(motion, (0, 2), np.concatenate([start, 0 * start]), rtol=1e-9, atol=1e-9).y[: len(x), -1]


fresh = np.random.default_rng(0).uniform(-1, 1, (500, 2))
truth = simulate(fresh)
draws = {"independent": christoffel_sample, "repeated DPP": repeated_dpp}

# %%
# Errors at fresh points as the degree grows, with twice as many simulations as unknowns throughout.

bases = [TensorBasis(Legendre(p + 1), total_degree(2, p)) for p in range(2, 15, 2)]
errors = {"independent, unweighted": [], "independent": [], "repeated DPP": []}
for basis in bases:
    x = basis.draw_mu(2 * basis.size, np.random.default_rng(2))
    plain = np.linalg.lstsq(basis.eval(x), simulate(x))[0]
    errors["independent, unweighted"].append(abs(basis.eval(fresh) @ plain - truth).mean())
    for name, draw in draws.items():
        design = draw(basis, 2 * basis.size, delta=None, rng=2)
        errors[name].append(abs(weighted_lstsq(simulate(design.points), basis, design=design).predict(fresh) - truth).mean())

# %%
# Left and centre: 132 points for degree 10 (66 unknowns), larger where they weigh more, with the least eigenvalue of the Gram matrix.

figure, panels = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
for panel, (name, draw) in zip(panels, draws.items(), strict=False):
    design = draw(bases[4], 2 * bases[4].size, delta=None, rng=1)
    panel.scatter(*design.points.T, s=1 + 6 * design.weights, c="k")
    panel.set(title=f"{name}, $\\lambda_{{min}}$ = {design.lambda_min:.3f}", xlabel="damping", ylabel="start", aspect="equal")
panels[2].semilogy([2 * basis.size for basis in bases], np.transpose(list(errors.values())), "o-", label=list(errors))
panels[2].set(title="a surrogate of the simulation", xlabel="simulations", ylabel="mean error at fresh points")
panels[2].legend()
plt.show()

"""Tables of the documentation of `weighted_lstsq`, by hand: stability of designs, and error against number of points.

Run ``python -m benchmarks.designs_tables stability`` and ``python -m benchmarks.designs_tables curves``; some minutes in all.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping

import numpy as np

from lowrank_la import ConvergenceWarning
from lowrank_la.dpp import (
    Basis,
    Design,
    Hermite,
    Legendre,
    TensorBasis,
    christoffel_sample,
    design_at,
    hyperbolic_cross,
    repeated_dpp,
    volume_sample,
    weighted_lstsq,
)

DELTA = 0.9
SAMPLERS: Mapping[str, Callable[..., Design]] = {"iid": christoffel_sample, "volume": volume_sample, "repeated": repeated_dpp}
CELLS = [(10, 2), (10, 4), (20, 2), (20, 3), (20, 8), (40, 2), (40, 3), (40, 8)]
SIZES = range(6, 42, 5)


def stable_share(kind: str, m: int, ratio: int, draws: int) -> float:
    """Return the share of Legendre designs of ratio * m points with ||G - I|| <= 0.9."""
    sample = SAMPLERS[kind]
    bounds = [sample(Legendre(m), ratio * m, delta=None, rng=seed).certificate.bound for seed in range(draws)]
    return float(np.mean(np.array(bounds) <= DELTA))


def stability(draws: int = 400) -> str:
    """Return the table of shares of stable designs, with one standard error."""
    lines = ["| m | n | independent | volume | repeated DPP |", "|---|---|---|---|---|"]
    for m, ratio in CELLS:
        shares = [stable_share(kind, m, ratio, draws) for kind in SAMPLERS]
        cells = " | ".join(f"{share:.3f} ± {(share * (1 - share) / draws) ** 0.5:.3f}" for share in shares)
        lines.append(f"| {m} | {ratio} m | {cells} |")
    return "\n".join(lines)


def bump(x: np.ndarray) -> np.ndarray:
    return np.exp(-((x - 1) ** 2) / 4)


def witch(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + 5 * x**2)


def plane_wave(x: np.ndarray) -> np.ndarray:
    return np.exp(x[:, 0] / 2) / (1.5 + x[:, 0] * x[:, 1])


PROBLEMS: Mapping[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[int], Basis], range]] = {
    "exp(-(x-1)^2/4), Hermite": (bump, Hermite, SIZES),
    "1/(1+5x^2), Legendre": (witch, Legendre, SIZES),
    "exp(x/2)/(1.5+xy), hyperbolic cross": (plane_wave, lambda level: TensorBasis(Legendre(level), hyperbolic_cross(2, level - 1)), SIZES),
}


def reference(basis: Basis, f: Callable[[np.ndarray], np.ndarray]) -> tuple[Callable[[np.ndarray], float], float]:
    """Return the L2 error as a function of coefficients, and the least one, by Gauss's rule."""
    families = basis.families if isinstance(basis, TensorBasis) else (basis,)
    nodes, weights = zip(*(family.quadrature(150) for family in families), strict=True)  # type: ignore[union-attr]
    x = np.stack([axis.ravel() for axis in np.meshgrid(*nodes, indexing="ij")], axis=1)
    w = np.prod(np.meshgrid(*weights, indexing="ij"), axis=0).ravel()
    keep = w > 1e-30  # far out, values of polynomials overflow and weigh nothing
    x, w = x[keep], w[keep]
    V, y = basis.eval(x), f(x[:, 0] if x.shape[1] == 1 else x)
    best = V.T @ (w * y)
    return lambda c: float(np.sqrt(np.sum(w * (y - V @ c) ** 2))), float(np.sqrt(np.sum(w * (y - V @ best) ** 2)))


def unweighted(basis: Basis, f: Callable[[np.ndarray], np.ndarray], n: int, seed: int) -> np.ndarray:
    """Return coefficients of plain least squares at independent points of mu, what one does without a design."""
    x = basis.draw_mu(n, np.random.default_rng(seed))
    return np.linalg.lstsq(basis.eval(x), f(x[:, 0] if basis.dim == 1 else x))[0]


def curve(name: str, size: int, repetitions: int = 10) -> dict[str, tuple[float, float]]:
    """Return (points, median L2 error) of each method for one size."""
    f, make, _ = PROBLEMS[name]
    basis = make(size)
    error, best = reference(basis, f)
    kinds = ("repeated_dpp", "christoffel", "greedy") if basis.dim == 1 else ("repeated_dpp", "christoffel")
    fits = {kind: [weighted_lstsq(f, basis, design=kind, rng=seed) for seed in range(repetitions)] for kind in kinds}
    answer = {
        kind: (float(np.mean([fit.design.size for fit in several])), float(np.median([error(fit.x) for fit in several])))
        for kind, several in fits.items()
    }
    n = round(answer["repeated_dpp"][0])
    answer["plain, points of mu"] = n, float(np.median([error(unweighted(basis, f, n, seed)) for seed in range(repetitions)]))
    if isinstance(basis, (Legendre, Hermite)):
        nodes, weights = basis.quadrature(size)
        gauss = design_at(basis, nodes, weights=size * weights)
        answer["Gauss nodes"] = size, error(weighted_lstsq(f(nodes), basis, design=gauss).x)
    return {**answer, "best": (0.0, best)}


def curves(name: str, repetitions: int = 10) -> str:
    """Return the table of a function."""
    _, make, sizes = PROBLEMS[name]
    rows = {size: curve(name, size, repetitions) for size in sizes}
    methods = list(rows[sizes[0]])
    text = ["", f"{name}: median error, and points", "", f"| m | {' | '.join(methods)} |", "|---" * (len(methods) + 1) + "|"]
    for size, row in rows.items():
        cells = [f"{error:.1e}" + (f" ({points:.0f})" if points else "") for points, error in row.values()]
        text.append(f"| {make(size).size} | {' | '.join(cells)} |")
    return "\n".join(text)


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    if sys.argv[1:] == ["stability"]:
        print(stability())
        return
    for name in PROBLEMS:
        print(curves(name), flush=True)


if __name__ == "__main__":
    main()

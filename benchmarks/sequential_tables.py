"""Tables of docs/sequential_nystrom.md: the spectral error of a dictionary against other choices of as many points, and at every step.

Run with: python -m benchmarks.sequential_tables
"""

from __future__ import annotations

import warnings

import numpy as np

from lowrank_la import ConvergenceWarning
from lowrank_la.kernel_methods import RBF, SequentialNystrom, nystrom

KERNEL, EPS, SEEDS = RBF(1.0), 0.5, 10


def points(n: int = 2000, outlying: int = 100, d: int = 4) -> np.ndarray:
    """Draw a dense cloud with outlying points, each far from all others, in random order."""
    rng = np.random.default_rng(0)
    X = 0.5 * rng.standard_normal((n, d))
    X[rng.permutation(n)[:outlying]] *= 20
    return X


def spectral(K: np.ndarray, indices: np.ndarray) -> float:
    """Return ||K - K~||_2."""
    values, V = np.linalg.eigh(K[np.ix_(indices, indices)])
    kept = values > 1e-13 * len(values) * values[-1]
    F = K[:, indices] @ (V[:, kept] / np.sqrt(values[kept]))
    return float(np.linalg.eigvalsh(K - F @ F.T)[-1])


def sizes(X: np.ndarray, K: np.ndarray, eigenvalues: np.ndarray) -> None:
    """Compare with uniform draws, randomly pivoted Cholesky and the best matrix of the same rank."""
    print("| ridge (effective dimension) | qbar | points | sequential | allowed | within | uniform | `nystrom` | best of that rank |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for ridge in (1.0, 10.0):
        dimension = np.sum(eigenvalues / (eigenvalues + ridge))
        for qbar in (2, 5, 10, 20):
            found = [SequentialNystrom(KERNEL, ridge=ridge, qbar=qbar, rng=seed).partial_fit(X).result() for seed in range(SEEDS)]
            errors = [spectral(K, result.indices) for result in found]
            k = round(float(np.median([len(result.indices) for result in found])))
            peers = [
                np.median([spectral(K, nystrom(X, kernel=KERNEL, rank=k, method=method, rng=seed).indices) for seed in range(3)])
                for method in ("uniform", "rpcholesky")
            ]
            within = sum(error <= ridge / (1 - EPS) for error in errors)
            cells = [f"{ridge:g} ({dimension:.1f})", f"{qbar}", f"{k}", f"{np.median(errors):.3g}", f"{ridge / (1 - EPS):g}"]
            cells += [f"{within} of {SEEDS}", *(f"{peer:.2g}" for peer in peers), f"{eigenvalues[k]:.2g}"]
            print("| " + " | ".join(cells) + " |", flush=True)


def steps(X: np.ndarray, K: np.ndarray) -> None:
    """Follow the error along the stream."""
    streams = [SequentialNystrom(KERNEL, ridge=1.0, rng=seed) for seed in range(SEEDS)]
    print("\n| points so far | in the dictionary, median | largest error / allowed |")
    print("| --- | --- | --- |")
    for n in range(250, len(X) + 1, 250):
        found = [stream.partial_fit(X[n - 250 : n]).result().indices for stream in streams]
        worst = max(spectral(K[:n, :n], indices) for indices in found) * (1 - EPS)
        print(f"| {n} | {np.median([len(indices) for indices in found]):g} | {worst:.2g} |", flush=True)


def main() -> None:
    """Print both tables."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    X = points()
    K = KERNEL(X, X)
    sizes(X, K, np.linalg.eigvalsh(K)[::-1])
    steps(X, K)


if __name__ == "__main__":
    main()

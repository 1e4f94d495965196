"""Tables of the documentation of `TopEigenvector`, by hand: the constant of the rate, orders that mislead, vectors stored against error.

Run ``python -m benchmarks.streaming_tables rate``, ``orders`` or ``space``; a minute or two each.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping

import numpy as np

from lowrank_la import ConvergenceWarning
from lowrank_la.streaming import TopEigenvector

RATIOS = (1.5, 2.0, 4.0, 16.0, 64.0)
SEEDS = 10
CHUNK = 1000


def rows_of_ratio(n: int, d: int, ratio: float, heavy: int, seed: int) -> np.ndarray:
    """Draw normal rows, and `heavy` orthogonal ones of squared norm 0.8 n among them, so that lambda_1 / lambda_2 is near `ratio`."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, d))
    directions = np.linalg.qr(rng.standard_normal((d, heavy + 1)))[0].T
    A[rng.choice(n, heavy, replace=False)] = (0.8 * n) ** 0.5 * directions[1:]
    u, second = directions[0], 1.8 if heavy else 1.0
    return A + np.outer(A @ u, (np.sqrt(ratio * second) - 1) * u)


def found(A: np.ndarray, method: str, seed: int = 0) -> np.ndarray:
    stream = TopEigenvector(A.shape[1], order="random" if method == "blocks" else "arbitrary", method=method, rng=seed)
    for first in range(0, len(A), CHUNK):
        stream.partial_fit(A[first : first + CHUNK])
    return stream.result().v


def oja(A: np.ndarray, v1: np.ndarray, value: float) -> np.ndarray:
    """Take the best of ten learning rates, known to be the best."""
    V = np.random.default_rng(0).standard_normal((A.shape[1], 10))
    rates = 2.0 ** np.arange(-2, 8) / value
    for a in A:
        V += np.outer(a, rates * (a @ V))
        V /= np.linalg.norm(V, axis=0)
    return V[:, np.argmax(np.abs(v1 @ V))]


def missing(A: np.ndarray, finders: Mapping[str, Callable[..., np.ndarray]]) -> tuple[float, dict[str, float]]:
    """Return lambda_1 / lambda_2, and 1 - (v . v1)^2 of each finder."""
    values, V = np.linalg.eigh(A.T @ A)
    v1 = V[:, -1]
    found_by = {name: finder(A, v1, values[-1]) for name, finder in finders.items()}
    return float(values[-1] / values[-2]), {name: 1 - float(v @ v1) ** 2 for name, v in found_by.items()}


def finders(*methods: str) -> dict[str, Callable[..., np.ndarray]]:
    ours = {f'"{method}"': lambda A, v1, value, method=method: found(A, method) for method in methods}
    return {**ours, "Oja's iteration, best rate": oja}


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def rate(n: int = 20_000, d: int = 200) -> str:
    """Tabulate the mean of 1 - (v . v1)^2, and 1 - |v . v1| times the root of R, which the paper bounds by a constant."""
    text = []
    for heavy in (0, 20):
        rows = []
        for ratio in RATIOS:
            draws = [missing(rows_of_ratio(n, d, ratio, heavy, seed), finders("blocks")) for seed in range(SEEDS)]
            R = np.mean([draw[0] for draw in draws])
            errors = {name: np.array([draw[1][name] for draw in draws]) for name in draws[0][1]}
            constants = [np.mean(1 - np.sqrt(1 - np.minimum(error, 1.0))) * R**0.5 for error in errors.values()]
            cells = [f"{np.mean(error):.2g}, {constant:.2g}" for error, constant in zip(errors.values(), constants, strict=True)]
            rows.append([f"{ratio:g} ({R:.3g})", *cells])
        text.append(f"{heavy} heavy rows\n\n" + table(["R wanted (mean)", *errors], rows))
    return "\n\n".join(text)


def late_kicks(d: int, ratio: float, light: int = 40) -> np.ndarray:
    """Give rows that tie v1 to all others with one sign before v1 is learned, and with the other one afterwards: A^T A does not notice."""
    e, a, b = np.eye(d), (ratio / (4 * (d - 1))) ** 0.5, 0.5**0.5
    middle = np.repeat((ratio / 2 / light) ** 0.5 * e[:1], light, axis=0)
    return np.concatenate([b * e[1:] - a * e[0], middle, b * e[1:] + a * e[0]])


def one_row_against_many(d: int, ratio: float) -> np.ndarray:
    """Give v1 in one row, and each other direction in 50 rows after it."""
    e = np.eye(d)
    return np.concatenate([ratio**0.5 * e[:1], np.repeat(e[1:], 50, axis=0) / 50**0.5])


def large_first(d: int, ratio: float) -> np.ndarray:
    """Give normal rows, those with much of v1 first."""
    A = np.random.default_rng(0).standard_normal((20_000, d)) * np.array([ratio**0.5] + [1.0] * (d - 1))
    return A[np.argsort(-np.abs(A[:, 0]))]


ORDERS = {"large rows first": large_first, "late kicks": late_kicks, "one row against many": one_row_against_many}


def orders(d: int = 200) -> str:
    """Tabulate 1 - (v . v1)^2 for orders of rows that are bad for a stream, the mean of ours over seeds."""
    rows = []
    for name, draw in ORDERS.items():
        for ratio in (2.0, 4.0, 16.0):
            A = draw(d, ratio)
            _, errors = missing(A, finders("oja", "directions"))
            v1 = np.linalg.eigh(A.T @ A)[1][:, -1]
            errors['"oja"'] = float(np.mean([1 - float(found(A, "oja", seed) @ v1) ** 2 for seed in range(SEEDS)]))
            rows.append([name, f"{ratio:g}", *(f"{error:.2g}" for error in errors.values())])
    return table(["order", "R", *errors], rows)


def space(n: int = 20_000, d: int = 200, ratio: float = 3.0) -> str:
    """Tabulate 1 - (v . v1)^2 against the vectors of length d that Frequent Directions stores, beside ours."""
    from lowrank_la.factor import FrequentDirections

    A = rows_of_ratio(n, d, ratio, 0, 0)
    V = np.linalg.eigh(A.T @ A)[1]
    rows = []
    for size in (4, 8, 16, 32, 64, 128):
        sketch = FrequentDirections(d, size)
        sketch.update(A)
        rows.append(["Frequent Directions", str(2 * size), f"{1 - float(sketch.result().V[:, 0] @ V[:, -1]) ** 2:.2g}"])
    for k in (1, 2, 4, 8):
        stream = TopEigenvector(d, k=k, rng=0)
        for first in range(0, n, CHUNK):
            stream.partial_fit(A[first : first + CHUNK])
        carried = 3 * stream._state.Z.shape[1]
        rows.append([f"blocks, k = {k}", str(carried), f"{1 - float(stream.result().v @ V[:, -1]) ** 2:.2g}"])
    return table(["method", "vectors", "1 - (v . v1)^2"], rows)


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name in sys.argv[1:] or ("rate", "orders", "space"):
        print(f"\n{name}\n\n{ {'rate': rate, 'orders': orders, 'space': space}[name]() }", flush=True)


if __name__ == "__main__":
    main()

"""Weighted least squares on data that stay with their owners, by consensus over noisy links."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door, wide
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.solvers._system import U

CLAIM = "||x - x*||_2 <= bound, for the minimiser x* over the data of all clients"
SETTLED = 1e-9  # relative distance from the central solution that counts as reached
STEADY = 0.5  # fall of the mean square error from the third quarter of the rounds to the last that counts as none


@dataclass(frozen=True, repr=False)
class FederatedResult(Result):
    """The coefficients that the server holds after the last round.

    Attributes
    ----------
    x : array (d,)
        Coefficients.
    central : array (d,)
        What a solver that sees all data finds; of least norm if it is not unique.
    rho : float
        Weight of the agreement.
    n_iter : int
        Rounds.
    history : NumPy array (rounds,)
        ||x - central||_2 after each round.
    steady_error : float
        Root mean square of `history` over the last quarter of the rounds.
    converged : bool
        Whether the error is negligible or, with noise, no longer falls.
    certificate : Certificate
        Bounds the distance of x from the minimiser, from its gradient.
    """

    x: Array
    central: Array
    rho: float
    n_iter: int
    history: np.ndarray
    steady_error: float
    converged: bool
    certificate: Certificate


def federated_wls(
    clients: Sequence[tuple[Array, ...]],
    *,
    rho: float | None = None,
    rounds: int = 300,
    participation: float = 1.0,
    link_noise: float = 0.0,
    rng: _random.RNG = None,
) -> FederatedResult:
    """Fit one weighted least-squares model to the data of many clients, who exchange coefficients only, over noisy links.

    Simulates the alternating direction method of multipliers for min sum_k ||Q_k^(1/2) (y_k - X_k x)||^2: in each round some
    clients send one vector each, the server sends back the mean of the last vectors of all, and every client updates.

    Parameters
    ----------
    clients : sequence of tuples (X, y) or (X, y, q)
        X (n_k, d) and y (n_k,), real, and weights q (n_k,), q >= 0, of the squared residuals; all of one library, d the same.
    rho : float, rho > 0, optional
        Weight of the agreement; by default the geometric mean of the extreme positive eigenvalues of the mean Hessian.
    rounds : int, rounds >= 1
        Exchanges.
    participation : float, 0 < participation <= 1
        Share of the clients, drawn anew each round and at least one, whose vectors reach the server.
    link_noise : float, link_noise >= 0
        Standard deviation of the Gaussian noise that each entry meets on each way.
    rng : None, int or numpy.random.Generator
        Draws participants and noise; an int gives the same ones on every backend.

    Returns
    -------
    FederatedResult
        x, central, rho, n_iter, history, steady_error, converged and certificate.

    Raises
    ------
    ValueError
        A shape does not fit, an entry is not finite, a weight is negative, there is no client, or an argument is out of range.
    TypeError
        An array is complex, arrays belong to different libraries, or an argument has the wrong type.

    Warns
    -----
    ConvergenceWarning
        The error still falls after the last round, or the data do not determine the coefficients: then the bound is inf.

    Notes
    -----
    With H_k = X_k^T Q_k X_k and c_k = X_k^T Q_k y_k, client k keeps a scaled multiplier u_k. In each round it computes

        w_k = (H_k + rho I)^-1 (c_k + rho (z_k - u_k)),

    sends v_k = w_k + u_k, receives z_k, and sets u_k to v_k - z_k. The server keeps the last v_k that has arrived from each
    client; z is their mean, and z_k is z with noise. Everybody is heard in the first round.

    The published form [1]_ eliminates the multipliers, (H_k + rho I) w_k' = H_k w_k + rho (2 z - z'), and averages the w_k that
    arrive. It is the same for noiseless links and all clients. Otherwise the sum of the implied multipliers, which is zero at the
    solution, drifts, since nothing restores it: with half the clients that form stops at a wrong point, and under noise its error
    grows with the square root of the number of rounds. Here the means contain the multipliers, which keeps their sum: any share of
    the clients leads to the exact solution, and the error under noise stays in proportion to `link_noise`.

    Cost: K d^3 once, 2 K d^2 flops a round for K clients; memory K (2 d^2 + 5 d) numbers. Certificate: the norm of the gradient,
    ||sum_k (c_k - H_k x)||, over lambda_min(sum_k H_k), with the rounding errors of both.

    References
    ----------
    .. [1] Lari, Arablouei, Gogineni and Werner, Noise-robust and resource-efficient ADMM-based federated learning, Signal Processing, 2025.
       The problem, and the update without multipliers.
    .. [2] Boyd, Parikh, Chu, Peleato and Eckstein, Distributed optimization and statistical learning via the alternating direction
       method of multipliers, 2011. Section 7.1, consensus.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.solvers import federated_wls
    >>> rng = np.random.default_rng(0)
    >>> clients = [(rng.standard_normal((30, 4)), rng.standard_normal(30)) for _ in range(8)]
    >>> result = federated_wls(clients, participation=0.5, rng=0)
    >>> bool(np.linalg.norm(result.x - result.central) < 1e-13), result.certificate.bound < 1e-12
    (True, True)
    """
    function = "federated_wls"
    rounds = _checks.integer(function, "rounds", rounds, 1)
    participation = _checks.real(function, "participation", participation, 0.0, 1.0)
    if participation == 0:
        raise ValueError(f"{function}: participation must be above 0; got 0")
    link_noise = _checks.real(function, "link_noise", link_noise, 0.0)
    rho = None if rho is None else _checks.real(function, "rho", rho, 0.0, open=True)
    seed = _random.seed_of(function, rng)
    door, pool = _enter(function, clients)
    rho = pool.balance() if rho is None else rho
    z, history = _simulate(pool, rho, rounds, participation, link_noise, seed)
    x = door.xp.astype(z, door.dtype, copy=False)
    bound = pool.bound(wide(x))
    return _answer(door, pool, x, rho, history, link_noise, bound)


@dataclass(frozen=True)
class _Pool:
    """Hessians (K, d, d), gradients (K, d) at zero, what rounding may have done to their sums, and the eigenvalues of the sum."""

    H: Array
    c: Array
    slack: tuple[float, float]
    values: Array
    central: Array

    def balance(self) -> float:
        """Return the geometric mean of the extreme positive eigenvalues of the mean Hessian."""
        values = _arrays.to_numpy(self.values) / self.H.shape[0]
        values = values[values > 1e-12 * values[-1]]
        return float(math.sqrt(values[0] * values[-1])) if values.size else 1.0

    def bound(self, x: Array) -> float:
        """Bound the distance of x from the minimiser, by its gradient."""
        xp = _arrays.namespace(x)
        K, d = self.c.shape
        gradient = float(xp.linalg.vector_norm(xp.sum(self.c - (self.H @ x[:, None])[..., 0], axis=0)))
        length = float(xp.linalg.vector_norm(x))
        size = float(xp.sum(xp.linalg.vector_norm(self.H, axis=(1, 2)))) * length + float(xp.sum(xp.linalg.vector_norm(self.c, axis=1)))
        gradient += 2 * U * (d + K + 4) * size + self.slack[0] * length + self.slack[1]
        least = float(self.values[0]) - self.slack[0] - 16 * U * (d + K) * float(xp.max(xp.abs(self.values)))
        return gradient / least * (1 + 4 * U) if least > 0 else math.inf


def _enter(function: str, clients: Any) -> tuple[Door, _Pool]:
    """Check the clients' data and sum them up.

    Raises
    ------
    ValueError
        There is no client, or its data are no good.
    TypeError
        Something is no tuple of arrays of one library.
    """
    if not isinstance(clients, Sequence) or isinstance(clients, str):
        raise TypeError(f"{function}: clients must be a sequence of tuples (X, y) or (X, y, q); got {type(clients).__name__}")
    if len(clients) == 0:
        raise ValueError(f"{function}: clients must have at least one entry; got none")
    door, columns, parts = None, None, []
    for k, client in enumerate(clients):
        entered, part = _client(function, k, client, columns)
        if door is not None and entered.xp is not door.xp:
            raise TypeError(f"{function}: arrays must belong to one library; clients[{k}] differs from clients[0]")
        door, columns = door or entered, part[0].shape[0]
        parts.append(part)
    assert door is not None
    xp = door.xp
    H, c = (xp.stack([part[i] for part in parts]) for i in (0, 1))
    slack = sum(part[2] for part in parts), sum(part[3] for part in parts)
    values, V = xp.linalg.eigh(xp.sum(H, axis=0))
    kept = values > 1e-14 * xp.max(xp.abs(values)) * H.shape[1]
    inverse = xp.where(kept, 1 / xp.where(kept, values, xp.ones_like(values)), xp.zeros_like(values))
    central = V @ (inverse * (xp.matrix_transpose(V) @ xp.sum(c, axis=0)))
    return door, _Pool(H, c, slack, values, central)


def _client(function: str, k: int, client: Any, columns: int | None) -> tuple[Door, tuple[Array, Array, float, float]]:
    """Return X^T Q X, X^T Q y, and bounds on their rounding errors.

    Raises
    ------
    ValueError
        A shape does not fit, an entry is not finite, or a weight is negative.
    TypeError
        The client is no tuple of real dense arrays.
    """
    if not isinstance(client, tuple | list) or len(client) not in (2, 3):
        raise TypeError(f"{function}: clients[{k}] must be a tuple (X, y) or (X, y, q); got {type(client).__name__}")
    names = [f"clients[{k}][{i}]" for i in range(len(client))]
    if any(_arrays.is_sparse(x) for x in client):
        raise TypeError(f"{function}: clients[{k}] must hold dense arrays; got a sparse matrix")
    door, inside = _arrays.enter(function, **dict(zip(names, client, strict=True)))
    X, vectors = inside[0], inside[1:]
    _checks.not_empty(function, names[0], _checks.ndim(function, names[0], X, 2))
    if columns is not None:
        _checks.shape(function, names[0], X, (X.shape[0], columns))
    for name, v in zip(names[1:], vectors, strict=True):
        _checks.shape(function, name, v, (X.shape[0],))
    for name, x in zip(names, inside, strict=True):
        _checks.finite(function, name, _checks.real_dtype(function, name, x))
    xp, X, y = door.xp, wide(X), wide(vectors[0])
    q = wide(vectors[1]) if len(vectors) == 2 else xp.ones_like(y)
    if bool(xp.any(q < 0)):
        raise ValueError(f"{function}: {names[2]} must be at least 0; got {float(xp.min(q)):.6g}")
    weighted = X * q[:, None]
    H = xp.matrix_transpose(X) @ weighted
    u = 2 * U * (X.shape[0] + 4)
    trace = float(xp.linalg.trace(H))
    return door, (H, xp.matrix_transpose(weighted) @ y, u * trace, u * math.sqrt(trace * float(xp.sum(q * y * y))))


def _simulate(pool: _Pool, rho: float, rounds: int, participation: float, link_noise: float, seed: int) -> tuple[Array, np.ndarray]:
    """Run the rounds; return what the server holds at the end, and its distance from the central solution after each."""
    xp, (K, d) = _arrays.namespace(pool.c), pool.c.shape
    values, V = xp.linalg.eigh(pool.H)
    V_t, shrink = xp.matrix_transpose(V), 1 / (values + rho)
    chooser, noise = (_random.host_generator(seed, f"solvers federated {purpose}") for purpose in ("participants", "links"))
    count = max(1, round(participation * K))
    z = multipliers = sent = xp.zeros_like(pool.c)
    mean, history = pool.central, np.zeros(rounds)
    for turn in range(rounds):
        w = (V @ (shrink[..., None] * (V_t @ (pool.c + rho * (z - multipliers))[..., None])))[..., 0]
        v = w + multipliers
        up, down = (_arrays.from_numpy(link_noise * noise.standard_normal((K, d)), v) if link_noise else 0.0 for _ in range(2))
        chosen = np.zeros((K, 1), dtype=bool)
        chosen[chooser.permutation(K)[:count]] = True
        heard = _arrays.from_numpy(chosen | (turn == 0), v)  # everybody is heard once, at the start
        sent = xp.where(heard, v + up, sent)
        mean = xp.mean(sent, axis=0)
        z = mean[None, :] + down if link_noise else xp.broadcast_to(mean[None, :], (K, d))
        multipliers = v - z
        history[turn] = float(xp.linalg.vector_norm(mean - pool.central))
    return mean, history


def _answer(door: Door, pool: _Pool, x: Array, rho: float, history: np.ndarray, link_noise: float, bound: float) -> FederatedResult:
    quarter = max(1, history.size // 4)
    last = float(np.mean(history[-quarter:] ** 2))
    before = float(np.mean(history[-2 * quarter : -quarter] ** 2)) if history.size > quarter else math.inf
    size = float(door.xp.linalg.vector_norm(pool.central))
    reached = history[-1] <= SETTLED * size
    converged = math.isfinite(bound) and (reached or (link_noise > 0 and last >= STEADY * before))
    if not converged:
        reason = "the error still falls after the last round" if math.isfinite(bound) else "the data do not determine the coefficients"
        warnings.warn(f"federated_wls: {reason}", ConvergenceWarning, stacklevel=3)
    central = door.leave(pool.central)
    certificate = Certificate(CLAIM, bound, 1.0, "gradient over the least eigenvalue")
    return FederatedResult(door.leave(x), central, rho, history.size, history, math.sqrt(last), bool(converged), certificate)

"""`vmf_sliced`: sliced Wasserstein distance over directions near a mean direction, the best or a given one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, Result
from lowrank_la.factor._dense import refuse_sparse
from lowrank_la.sliced import _directions
from lowrank_la.sliced._gradient import by_points, with_gradients
from lowrank_la.sliced._problem import Problem, enter
from lowrank_la.sliced._regression import half_width, skewness_of

NAME = "vmf_sliced"
CLAIM = "|value - (E W_p^p over directions about `direction`)^(1/p)| <= bound"


@dataclass(frozen=True, repr=False)
class VMFResult(Result):
    """An estimate of the sliced Wasserstein distance over a von Mises-Fisher law of directions.

    Attributes
    ----------
    value : float
        p-th root of the mean of W_p^p. Where X or Y require gradients it is a tensor that gives them.
    value_p : float
        The mean, likewise.
    direction : array (d,)
        Mean direction of the law.
    standard_error : float
        Of `value`, over the draws of directions.
    interval : tuple of float
        Holds the distance at `direction` with the confidence of the certificate.
    n_projections : int
        Directions that the estimate used; the search used others.
    n_iter : int
        Steps of the search.
    certificate : Certificate
        Bounds the distance of `value` from that at `direction`, which the supremum over directions is not below.
    """

    value: Any
    value_p: Any
    direction: Array
    standard_error: float
    interval: tuple[float, float]
    n_projections: int
    n_iter: int
    certificate: Certificate


def vmf_sliced(
    X: Array,
    Y: Array,
    *,
    kappa: float = 10.0,
    direction: Array | Callable[[Array, Array], Array] | None = None,
    p: float = 2,
    a: Array | None = None,
    b: Array | None = None,
    n_projections: int = 128,
    steps: int = 50,
    confidence: float = 0.95,
    rng: _random.RNG = None,
) -> VMFResult:
    """Estimate the mean of W_p^p over directions from a von Mises-Fisher law, about the best mean direction or a given one.

    kappa = 0 is the sliced Wasserstein distance, large kappa the largest W_p over directions.

    Parameters
    ----------
    X : array (n, d), real
        Points. Torch tensors may require gradients.
    Y : array (m, d), real
        Points to compare with.
    kappa : float, kappa >= 0
        Concentration: the density of theta is proportional to exp(kappa theta . direction).
    direction : array (d,), or callable
        Mean direction, or a function of X and Y that gives it, such as `linear_attention_direction` with its parameters.
        By default the one with the largest distance is searched.
    p : float, p >= 1
        Exponent of the cost |u - v|^p.
    a : array (n,), non-negative
        Weights of the rows of X; uniform by default.
    b : array (m,), non-negative
        Weights of the rows of Y, of the mass of `a`.
    n_projections : int, n_projections >= 2
        Directions for the search, and as many new ones for the estimate.
    steps : int, steps >= 0
        Most steps of the search.
    confidence : float, 0 < confidence < 1
        Of the interval.
    rng : None, int or numpy.random.Generator
        An int gives the same directions on every backend.

    Returns
    -------
    VMFResult
        value, value_p, direction, standard_error, interval, n_projections, n_iter and certificate.

    Raises
    ------
    ValueError
        X or Y is no matrix, is empty or not finite, dimensions or masses differ, weights do not fit or are negative, the direction
        does not fit or is zero, or an argument is out of range.
    TypeError
        An argument is complex or no array of numbers.

    Notes
    -----
    Directions come from Wood's rejection sampler. The search climbs with one sample that turns along with its mean direction, so that the
    objective is a smooth function of it; the estimate is then made of new directions, and not biased by the search.

    Certificate: Student's interval over independent directions, plus rounding errors. It concerns the law about `direction`; that
    no other direction gives more is not certified.

    References
    ----------
    .. [1] Nguyen, Nguyen and Ho, Self-attention amortized distributional projection optimization for sliced Wasserstein
       point-cloud reconstruction, ICML 2023.
    .. [2] Wood, Simulation of the von Mises-Fisher distribution, Comm. Statist. Simulation Comput. 23, 1994. The sampler.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sliced import max_sliced, sliced_wasserstein, vmf_sliced
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.standard_normal((400, 3)), rng.standard_normal((400, 3)) * [3.0, 1.0, 1.0]
    >>> result = vmf_sliced(X, Y, kappa=20, rng=0)
    >>> bool(abs(result.direction[0]) > 0.9)
    True
    >>> sliced_wasserstein(X, Y, rng=0).value < result.value < max_sliced(X, Y, rng=0).value
    True
    """
    kappa = _checks.real(NAME, "kappa", kappa, 0)
    L = _checks.integer(NAME, "n_projections", n_projections, 2)
    steps = _checks.integer(NAME, "steps", steps)
    confidence = _checks.real(NAME, "confidence", confidence, 0, 1, open=True)
    seed = _random.seed_of(NAME, rng)
    problem = enter(NAME, X, Y, a, b, p)
    given = None if direction is None else _given(problem, direction(X, Y) if callable(direction) else direction)
    with problem.threads(L):
        centre, n_iter = (given, 0) if given is not None else _climb(problem, kappa, L, steps if kappa and problem.d > 1 else 0, seed)
        T = _turned(sample(L, problem.d, kappa, seed, "estimate"), centre)
        return _answer(problem, X, Y, T, centre, n_iter, confidence)


def linear_attention_direction(params: tuple[Array, Array, Array], X: Array, Y: Array) -> Array:
    """Give a direction that depends on two clouds by linear attention: the same for any order of the points, and of the clouds.

    Parameters
    ----------
    params : tuple of arrays (d, k), (d, k), (d, d)
        Projections to queries, keys and values.
    X : array (n, d), real
        Points.
    Y : array (m, d), real
        Points.

    Returns
    -------
    array (d,)
        Unit vector. For PyTorch it has derivatives by the parameters and the points.

    Raises
    ------
    ValueError
        Shapes do not fit, or the pooled values are zero or not finite.
    TypeError
        An argument is complex, sparse or no array of numbers, or they belong to different libraries.

    Notes
    -----
    Each cloud is pooled to mean_i softmax(x_i W_q) . softmax(X W_k)^T X W_v, where the first softmax is over features and the second over
    points [1]_; the direction is the normalised sum. Cost: (n + m) d (2 k + d) flops.

    References
    ----------
    .. [1] Shen, Zhang, Zhao, Yi and Li, Efficient attention: attention with linear complexities, WACV 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sliced import linear_attention_direction
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.standard_normal((50, 3)), rng.standard_normal((60, 3))
    >>> params = rng.standard_normal((3, 4)), rng.standard_normal((3, 4)), np.eye(3)
    >>> theta = linear_attention_direction(params, X, Y)
    >>> bool(np.allclose(theta, linear_attention_direction(params, Y[::-1], X)))
    True
    """
    function = "linear_attention_direction"
    params = _checks.several(function, "params", params)
    if len(params) != 3:
        raise ValueError(f"{function}: params must be three arrays; got {len(params)}")
    door, inside = _attention(function, X, Y, *map(_arrays.detached, params))
    if not _arrays.wants_gradients(X, Y, params):
        return door.leave(_direction(function, *inside))
    return _direction(function, X, Y, *params)


def _attention(function: str, X: Array, Y: Array, *params: Array) -> tuple[Door, list[Array]]:
    """Check what `linear_attention_direction` gets, and take it inside."""
    named = {"X": _arrays.detached(X), "Y": _arrays.detached(Y), **dict(zip(("W_q", "W_k", "W_v"), params, strict=True))}
    refuse_sparse(function, **named)
    door, inside = _arrays.enter(function, **named)
    for name, x in zip(named, inside, strict=True):
        _checks.not_empty(function, name, _checks.ndim(function, name, _checks.real_dtype(function, name, x), 2))
    (X, Y, W_q, *_), d = inside, inside[0].shape[1]
    shapes = {"Y": (Y.shape[0], d), "W_q": (d, W_q.shape[1]), "W_k": (d, W_q.shape[1]), "W_v": (d, d)}
    for (name, shape), x in zip(shapes.items(), inside[1:], strict=True):
        _checks.shape(function, name, x, shape)
    return door, inside


def _direction(function: str, X: Array, Y: Array, *params: Array) -> Array:
    xp = _arrays.namespace(X, Y, *params)
    pooled = _pooled(xp, X, *params) + _pooled(xp, Y, *params)
    norm = xp.sqrt(xp.sum(pooled * pooled))
    size = float(_arrays.detached(norm))
    if not 0 < size < math.inf:
        raise ValueError(f"{function}: the pooled values must be finite and not all zero; got norm {size}")
    return pooled / norm


def _pooled(xp: Any, X: Array, W_q: Array, W_k: Array, W_v: Array) -> Array:
    queries, keys = _softmax(xp, X @ W_q, 1), _softmax(xp, X @ W_k, 0)
    return xp.mean(queries, axis=0) @ (xp.matrix_transpose(keys) @ (X @ W_v))


def _softmax(xp: Any, scores: Array, axis: int) -> Array:
    powers = xp.exp(scores - xp.max(scores, axis=axis, keepdims=True))
    return powers / xp.sum(powers, axis=axis, keepdims=True)


def sample(L: int, d: int, kappa: float, seed: int, purpose: str) -> np.ndarray:
    """Draw L directions about the first axis."""
    if d == 1:
        return np.ones((L, 1))
    rng = _random.host_generator(seed, f"{NAME}: {purpose}")
    w = _cosines(L, d, kappa, rng)[:, None]
    around = rng.standard_normal((L, d - 1))
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    return np.concatenate([w, np.sqrt(np.maximum(0, 1 - w * w)) * around], axis=1)


def _cosines(L: int, d: int, kappa: float, rng: np.random.Generator) -> np.ndarray:
    """Draw cosines of the angle to the mean direction, by rejection from a transformed beta law."""
    b = (d - 1) / (2 * kappa + math.hypot(2 * kappa, d - 1))
    x0 = (1 - b) / (1 + b)
    c = kappa * x0 + (d - 1) * math.log((1 - x0) * (1 + x0)) if kappa else 0.0
    found = np.empty(0)
    while found.size < L:
        z = rng.beta((d - 1) / 2, (d - 1) / 2, 2 * L)
        w = (1 - (1 + b) * z) / (1 - (1 - b) * z)
        kept = kappa * w + (d - 1) * np.log(1 - x0 * w) - c >= np.log(rng.random(2 * L)) if kappa else np.full(2 * L, True)
        found = np.concatenate([found, w[kept]])
    return found[:L]


def _turned(T: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Reflect directions about the first axis so that it becomes the centre."""
    mirror = -centre
    mirror[0] += 1
    square = float(mirror @ mirror)
    return T if square < 1e-30 else T - np.outer(T @ mirror, 2 / square * mirror)


def _given(problem: Problem, direction: Array) -> np.ndarray:
    """Check a direction and normalise it.

    Raises
    ------
    ValueError
        It does not fit, or is zero.
    """
    inside = _arrays.beside(NAME, "direction", _arrays.detached(direction), problem.X.points)
    inside = _checks.finite(NAME, "direction", _checks.shape(NAME, "direction", inside, (problem.d,)))
    vector = _arrays.to_numpy(inside).astype(np.float64)
    norm = float(np.linalg.norm(vector))
    if norm == 0:
        raise ValueError(f"{NAME}: direction must not be zero")
    return vector / norm


def _climb(problem: Problem, kappa: float, L: int, steps: int, seed: int) -> tuple[np.ndarray, int]:
    """Search the mean direction with the largest mean cost over one sample, which is turned along with it."""
    centre = np.eye(1, problem.d)[0]
    if steps == 0:
        return centre, 0
    T = sample(L, problem.d, kappa, seed, "search")
    coarse = np.concatenate([_directions.independent(4 * L, problem.d, seed, f"{NAME}: starts"), _unit(problem.mu)[None, :]])
    costs = problem.costs(coarse, coarse @ problem.mu)
    start = coarse[int(np.argmax(costs))]
    T, centre = _turned(T, start), start
    best, along = _ascent(problem, T, centre)
    angle = 0.3
    for step in range(1, steps + 1):
        size = float(np.linalg.norm(along))
        if size == 0 or angle < 1e-3:
            return centre, step - 1
        turned = [_rotated(rows, centre, along / size, angle) for rows in (T, centre[None, :])]
        cost, there = _ascent(problem, turned[0], turned[1][0])
        if cost > best:
            T, centre, best, along, angle = turned[0], turned[1][0], cost, there, min(1.0, 1.5 * angle)
        else:
            angle /= 2
    return centre, steps


def _unit(vector: np.ndarray) -> np.ndarray:
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm > 0 else np.eye(1, vector.size)[0]


def _ascent(problem: Problem, T: np.ndarray, centre: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean cost, and its slope when all directions turn with the centre: a tangent vector at the centre."""
    _, _, slopes, costs = problem.slopes(T, T @ problem.mu, np.zeros(len(T)))
    along = ((T @ centre)[:, None] * slopes - (slopes @ centre)[:, None] * T).mean(axis=0)
    return float(costs.mean()), along - (along @ centre) * centre


def _rotated(rows: np.ndarray, centre: np.ndarray, along: np.ndarray, angle: float) -> np.ndarray:
    """Turn rows in the plane of two orthonormal vectors, from the first towards the second."""
    x, y = rows @ centre, rows @ along
    c, s = math.cos(angle), math.sin(angle)
    return rows + np.outer(c * x - s * y - x, centre) + np.outer(s * x + c * y - y, along)


def _answer(problem: Problem, X: Array, Y: Array, T: np.ndarray, centre: np.ndarray, n_iter: int, confidence: float) -> VMFResult:
    p, L, slack = problem.p, len(T), 0.0 if problem.same else problem.rounding
    costs = problem.costs(T, T @ problem.mu)
    mean, error = float(costs.mean()), float(costs.std(ddof=1) / math.sqrt(L))
    value, width = mean ** (1 / p), half_width(error, L - 1.0, skewness_of(costs - mean), confidence)
    interval = max(0.0, max(0.0, mean - width) ** (1 / p) - slack), (mean + width) ** (1 / p) + slack
    bound = max(value - interval[0], interval[1] - value)
    certificate = Certificate(CLAIM, bound, confidence if error > 0 else 1.0, "independent directions")
    direction = problem.door.leave(_arrays.from_numpy(centre, problem.X.points))
    spread = error / (p * value ** (p - 1)) if value > 0 else 0.0
    answer = VMFResult(value, mean, direction, spread, interval, L, n_iter, certificate)
    return with_gradients(X, Y, p, answer, lambda: by_points(problem, T, np.full(L, 1 / L)))

"""`light_bridge`: a Schrodinger bridge between two samples, as a mixture of Gaussians in closed form."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, ConvergenceWarning, Result
from lowrank_la.factor._dense import refuse_sparse
from lowrank_la.factor._intake import reading
from lowrank_la.transport import _bridge_fit
from lowrank_la.transport._discrepancy import CLAIM, CONFIDENCE, discrepancy
from lowrank_la.transport._mixture import Mixture, shares, take

NAME = "light_bridge"
COVARIANCES = ("diagonal", "full")
ARRAYS = ("log_weights", "centres", "scales", "origin0", "origin1")


@dataclass(frozen=True, repr=False)
class LightBridge(Result):
    """A fitted bridge; every method works for any points, and is in closed form.

    With centred points x' = x - origin0 and y' = y - origin1, the plan is pi(y | x) = exp(<x', y'> / eps) v(y') / c(x'),
    where v(y') = sum_k exp(log_weights_k) N(y' | centres_k, eps S_k).

    Attributes
    ----------
    log_weights : array (K,), float64
        Logarithms of the weights.
    centres : array (K, d), float64
        Centres of the components.
    scales : array (K, d) or (K, d, d), float64
        Diagonals of the S_k, or their lower Cholesky factors.
    origin0, origin1 : array (d,), float64
        Means of the two samples.
    eps : float
        Variance of the Wiener process at time 1.
    loss : float
        mean log c(x') - mean log v(y') over the fitted points.
    held_out_loss : float
        The same over the points that were held out; NaN if there are none.
    n_iter : int
        Iterations.
    converged : bool
        The gradient is below the tolerance.
    certificate : Certificate
        Bounds how far the law of what the bridge makes of the first population is from the second one.
    """

    log_weights: Array
    centres: Array
    scales: Array
    origin0: Array
    origin1: Array
    eps: float
    loss: float
    held_out_loss: float
    n_iter: int
    converged: bool
    certificate: Certificate

    def sample(self, X: Array, *, rng: _random.RNG = None) -> Array:
        """Draw one end y of the bridge from each row of X, shape (n, d).

        Raises
        ------
        ValueError
            X does not fit or is not finite.
        """
        return self.path(X, [1.0], rng=rng)[0, ...]

    def path(self, X: Array, times: Any, *, rng: _random.RNG = None) -> Array:
        """Draw one path of the bridge from each row of X, at times from 0 to 1, ascending; shape (T, n, d).

        Exact in law: ends are drawn from the plan, and between two ends a Brownian bridge.

        Raises
        ------
        ValueError
            X does not fit or is not finite, times are not ascending from 0 to 1.
        """
        name = f"{type(self).__name__}.path"
        times = _times(name, times)
        seed = _random.seed_of(name, rng)
        door, x, mixture, origin0, origin1 = self._inside(name, X)
        random = _random.host_generator(seed, "light bridge path")
        y = _ends(mixture, x, random) + origin1
        x, now, states = x + origin0, 0.0, []
        for t in times:
            if t > now:
                step = (t - now) / (1 - now)
                x = x + step * (y - x) + math.sqrt(self.eps * (t - now) * (1 - t) / (1 - now)) * _normal(random, x)
                now = t
            states.append(x)
        return door.leave(door.xp.stack(states, axis=0))

    def mean(self, X: Array) -> Array:
        """Mean of the ends of the bridge from each row of X, shape (n, d): the barycentric map.

        Raises
        ------
        ValueError
            X does not fit or is not finite.
        """
        door, x, mixture, _, origin1 = self._inside(f"{type(self).__name__}.mean", X)
        return door.leave(mixture.means(x, shares(door.xp, mixture.log_c(x))[1]) + origin1)

    def drift(self, X: Array, t: float) -> Array:
        """Drift of the bridge at time t, 0 <= t < 1, in each row of X, shape (n, d).

        The bridge solves dx = drift(x, t) dt + sqrt(eps) dW.

        Raises
        ------
        ValueError
            X does not fit or is not finite, or t is out of range.
        """
        name = f"{type(self).__name__}.drift"
        t = _checks.real(name, "t", t, 0, 1 - 1e-9)
        door, x, mixture, origin0, origin1 = self._inside(name, X)
        shift = t * (origin1 - origin0)  # the centred process is at x - (1 - t) origin0 - t origin1
        return door.leave(mixture.drift(x - shift, t) + origin1 - origin0)

    def log_normalizer(self, X: Array) -> Array:
        """Return log c(x') for each row of X, shape (n,).

        Raises
        ------
        ValueError
            X does not fit or is not finite.
        """
        door, x, mixture, _, _ = self._inside(f"{type(self).__name__}.log_normalizer", X)
        return door.leave(shares(door.xp, mixture.log_c(x))[0])

    def log_potential(self, Y: Array) -> Array:
        """Return log v(y') for each row of Y, shape (n,).

        Raises
        ------
        ValueError
            Y does not fit or is not finite.
        """
        door, y, mixture, origin0, origin1 = self._inside(f"{type(self).__name__}.log_potential", Y)
        return door.leave(shares(door.xp, mixture.log_v(y + origin0 - origin1))[0])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to an npz file."""
        arrays: dict[str, Any] = {name: _arrays.to_numpy(getattr(self, name)) for name in ARRAYS}
        numbers = np.array([self.eps, self.loss, self.held_out_loss, self.n_iter, self.converged, self.certificate.bound], dtype=np.float64)
        with open(path, "wb") as file:
            np.savez(file, bridge=numbers, method=np.array(self.certificate.method), **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LightBridge:
        """Read what `save` wrote, as NumPy arrays; methods still follow the arrays they are given.

        Raises
        ------
        ValueError
            It is not such a file.
        """
        with reading(cls.__name__, path) as file:
            eps, loss, held_out, n_iter, converged, bound = map(float, file["bridge"])
            arrays = {name: np.asarray(file[name], dtype=np.float64) for name in ARRAYS}
            certificate = Certificate(CLAIM, bound, CONFIDENCE, str(file["method"]))
        return cls(
            **arrays,
            eps=eps,
            loss=loss,
            held_out_loss=held_out,
            n_iter=int(n_iter),
            converged=bool(converged),
            certificate=certificate,
        )

    def _inside(self, name: str, X: Array) -> tuple[Door, Array, Mixture, Array, Array]:
        """Take points inside, in double precision and centred as the first sample, with the parameters beside them."""
        door, X = _points(name, "X", X, self.centres.shape[1])
        mixture = Mixture(self.log_weights, self.centres, self.scales, self.eps).beside(X)
        origin0, origin1 = (_arrays.from_numpy(_arrays.to_numpy(x), X) for x in (self.origin0, self.origin1))
        return door, X - origin0, mixture, origin0, origin1


def light_bridge(
    X0: Array,
    X1: Array,
    *,
    eps: float,
    n_components: int = 20,
    covariance: str = "diagonal",
    held_out: float = 0.2,
    max_iter: int = 500,
    tol: float = 1e-4,
    init: LightBridge | None = None,
    rng: _random.RNG = None,
) -> LightBridge:
    """Fit the Schrodinger bridge between two samples: the diffusion nearest to a Wiener process that takes one law to the other.

    Its plan solves entropic optimal transport for the cost |x - y|^2 / 2. The potential of the plan is a mixture of
    Gaussians, so that normaliser, conditional law, drift and paths are in closed form, for new points, too.

    Parameters
    ----------
    X0 : array (n, d), real, n >= 2
        Sample of the first law. Its namespace, device and dtype are those of what the bridge makes of arrays like it.
    X1 : array (m, d), real, m >= 2
        Sample of the second law, independent of X0: no pairs.
    eps : float, eps > 0
        Variance of the Wiener process at time 1, in squared units of X0: the regularisation.
    n_components : int, n_components >= 1
        Gaussians, at most the different points of X1.
    covariance : {"diagonal", "full"}
        Shape of the matrices S_k.
    held_out : float, 0 <= held_out < 0.9
        Share of both samples that is kept out of the fit, for the certificate; 0: no certificate (its bound is inf).
    max_iter : int, max_iter >= 1
        Iterations of the fit.
    tol : float, tol > 0
        Largest entry of the gradient at the end, over max(1, s^2 / eps), for data scaled by their spread s.
    init : LightBridge
        Where to start: an earlier bridge for points of as many columns. It replaces `n_components` and `covariance`.
    rng : None, int or numpy.random.Generator
        An int gives the same bridge on every backend, to rounding.

    Returns
    -------
    LightBridge
        Parameters; `sample`, `path`, `mean`, `drift`, `log_normalizer`, `log_potential`, `save` and `load`; loss, n_iter,
        converged and certificate.

    Raises
    ------
    ValueError
        A sample has fewer than two rows, is not finite or does not fit, or an argument is out of range.
    TypeError
        A sample is complex or no array of numbers, init is no bridge.

    Warns
    -----
    ConvergenceWarning
        The tolerance is not reached in max_iter iterations.

    Notes
    -----
    Cost: about 8 (n + m) K d flops for an iteration (d times that for full matrices), the first half of them on 4096
    points of each sample; memory (n + m) K numbers. Double precision inside.

    Certificate: the plan has the form exp(<x, y> / eps) v(y) / c(x), so it is exactly the Schrodinger bridge
    from the first law to the law q of its own ends. What can be wrong is q: the bound is on the maximum mean discrepancy
    between q and the second law for a Gaussian kernel (at most sqrt 2), from the points held out, with the concentration of means of unit
    vectors in a Hilbert space; probability 0.99 over independent samples. It falls like 1 / sqrt(points held out).

    References
    ----------
    .. [1] Korotin, Gushchin and Burnaev, Light Schrodinger bridge, ICLR 2024. Potential, normaliser, plan and loss; the drift without
       differentiation, the parameters of the fit and its method are ours.
    .. [2] Gretton, Borgwardt, Rasch, Schoelkopf and Smola, A kernel two-sample test, JMLR 13, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.transport import light_bridge
    >>> rng = np.random.default_rng(0)
    >>> X0, X1 = rng.standard_normal((2000, 2)), 0.5 * rng.standard_normal((2000, 2)) + [4.0, 0.0]
    >>> bridge = light_bridge(X0, X1, eps=0.5, n_components=1, rng=0)
    >>> ends = bridge.sample(X0, rng=0)
    >>> bool(abs(ends.mean(axis=0) - [4.0, 0.0]).max() < 0.1 and abs(ends.std(axis=0) - 0.5).max() < 0.05)
    True
    """
    seed = _random.seed_of(NAME, rng)
    eps = _checks.real(NAME, "eps", eps, 0, open=True)
    n_components = _checks.integer(NAME, "n_components", n_components, 1)
    full = _checks.choice(NAME, "covariance", covariance, COVARIANCES) == "full"
    held_out = _checks.real(NAME, "held_out", held_out, 0, 0.9)
    max_iter, tol = _checks.integer(NAME, "max_iter", max_iter, 1), _checks.real(NAME, "tol", tol, 0, open=True)
    door, X, Y = _samples(X0, X1)
    if init is not None and not isinstance(init, LightBridge):
        raise TypeError(f"{NAME}: init must be a LightBridge; got {type(init).__name__}")
    if init is not None:
        _checks.shape(NAME, "init.centres", init.centres, (init.centres.shape[0], X.shape[1]))

    (X, X_test), (Y, Y_test) = (_split(Z, held_out, seed, label) for Z, label in ((X, "X0"), (Y, "X1")))
    xp = door.xp
    origins = xp.mean(X, axis=0), xp.mean(Y, axis=0)
    X, Y = X - origins[0], Y - origins[1]
    spread = math.sqrt(float(xp.mean(X * X)) + float(xp.mean(Y * Y))) or 1.0
    start = None if init is None else Mixture(init.log_weights, init.centres / spread, init.scales, eps / spread**2)
    goal = tol * max(1.0, spread**2 / eps)
    fitted = _bridge_fit.fit(X / spread, Y / spread, eps / spread**2, n_components, full, seed, max_iter=max_iter, tol=goal, start=start)
    return _answer(door, fitted, spread, eps, origins, (X_test, Y_test), seed)


def _answer(
    door: Door,
    fitted: _bridge_fit.Fitted,
    spread: float,
    eps: float,
    origins: tuple[Array, Array],
    held_out: tuple[Array, Array],
    seed: int,
) -> LightBridge:
    """Undo the scaling, judge the bridge by the points held out, and hand it out."""
    X, Y = held_out
    mixture = Mixture(fitted.mixture.l, fitted.mixture.r * spread, fitted.mixture.s, eps)
    arrays = zip(ARRAYS, map(door.leave_wide, (mixture.l, mixture.r, mixture.s, *origins)), strict=True)
    value = fitted.loss + X.shape[1] * math.log(spread)
    certificate, kept = Certificate(CLAIM, math.inf, CONFIDENCE, "no points held out"), math.nan
    if min(X.shape[0], Y.shape[0]):
        kept = _bridge_fit.loss(mixture, X - origins[0], Y - origins[1])
        ends = _ends(mixture, X - origins[0], _random.host_generator(seed, "light bridge certificate")) + origins[1]
        bound = discrepancy(ends, Y, fitted.width * spread)
        certificate = Certificate(CLAIM, bound, CONFIDENCE, "held-out points")
    result = LightBridge(
        **dict(arrays),
        eps=eps,
        loss=value,
        held_out_loss=kept,
        n_iter=fitted.n_iter,
        converged=fitted.converged,
        certificate=certificate,
    )
    if not result.converged:
        warnings.warn(f"{NAME}: no convergence in {result.n_iter} iterations ({fitted.message})", ConvergenceWarning, stacklevel=3)
    return result


def _ends(mixture: Mixture, x: Array, random: np.random.Generator) -> Array:
    """Draw from the plan, for centred points."""
    plan = _arrays.to_numpy(shares(_arrays.namespace(x), mixture.log_c(x))[1])
    sums = np.cumsum(plan, axis=1)
    choice = np.sum(sums < random.random((plan.shape[0], 1)) * sums[:, -1:], axis=1)
    return take(mixture, np.minimum(choice, plan.shape[1] - 1), x, _normal(random, x))


def _samples(X0: Array, X1: Array) -> tuple[Door, Array, Array]:
    """Check both samples, and widen them.

    Raises
    ------
    ValueError
        Fewer than two rows, no columns, entries that are not finite, or different numbers of columns.
    """
    refuse_sparse(NAME, X0=X0, X1=X1)
    door, [X, Y] = _arrays.enter(NAME, X0=X0, X1=X1)
    for label, Z in (("X0", X), ("X1", Y)):
        _checks.finite(NAME, label, _checks.real_dtype(NAME, label, _checks.ndim(NAME, label, Z, 2)))
        if Z.shape[0] < 2 or Z.shape[1] < 1:
            raise ValueError(f"{NAME}: {label} must have at least two rows and one column; got shape {tuple(Z.shape)}")
    _checks.shape(NAME, "X1", Y, (Y.shape[0], X.shape[1]))
    return door, *(door.xp.astype(Z, door.xp.float64, copy=False) for Z in (X, Y))


def _points(name: str, label: str, X: Array, d: int) -> tuple[Door, Array]:
    refuse_sparse(name, **{label: X})
    door, [X] = _arrays.enter(name, **{label: X})
    _checks.real_dtype(name, label, _checks.ndim(name, label, X, 2))
    _checks.finite(name, label, _checks.shape(name, label, X, (X.shape[0], d)))
    return door, door.xp.astype(X, door.xp.float64, copy=False)


def _split(X: Array, share: float, seed: int, label: str) -> tuple[Array, Array]:
    """Hold out a share of the rows, at random."""
    xp, n = _arrays.namespace(X), X.shape[0]
    order, count = _random.host_generator(seed, f"light bridge: {label}").permutation(n), min(math.ceil(share * n), n - 2)
    rows = (_arrays.from_numpy(np.sort(part), X) for part in (order[count:], order[:count]))
    fitted, kept = (xp.take(X, part, axis=0) for part in rows)
    return fitted, kept


def _times(name: str, times: Any) -> list[float]:
    values = [_checks.real(name, "times", t, 0, 1) for t in times]
    if not values or values != sorted(values):
        raise ValueError(f"{name}: times must be ascending and not empty; got {values}")
    return values


def _normal(random: np.random.Generator, like: Array) -> Array:
    return _arrays.from_numpy(random.standard_normal(like.shape), like)

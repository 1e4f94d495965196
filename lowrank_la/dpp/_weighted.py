"""`weighted_lstsq`: approximate a function from its values at well chosen points."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, ConvergenceWarning
from lowrank_la.dpp._bases import Basis, check_basis
from lowrank_la.dpp._christoffel import christoffel_sample
from lowrank_la.dpp._design import Design, inside, make_design, shortfall, sites_of
from lowrank_la.dpp._fit import fit
from lowrank_la.dpp._measure import Values, enter_values, measure, redrawn
from lowrank_la.dpp._repeated import repeated_dpp
from lowrank_la.dpp._result import Validation, WeightedLstsqResult
from lowrank_la.dpp._sample import determinantal
from lowrank_la.dpp._volume import volume_sample

NAME = "weighted_lstsq"
DESIGNS = ("repeated_dpp", "christoffel", "volume", "dpp", "greedy")
CLAIM = "||v - f^||_L2 <= bound (||f - v||_n + rounding) for every v in the span"
RIDGE_CLAIM = "||v - f^||_L2 <= bound ((||f - v||_n^2 + ridge ||v||^2)^(1/2) + rounding) for every v in the span"
BEST_OF = 100  # draws for "greedy"
QUANTILE, LEVEL = 1.959963984540054, 0.95


def weighted_lstsq(
    f: Callable[[Array], Any] | Array,
    basis: Basis,
    n: int | None = None,
    *,
    design: str | Design = "repeated_dpp",
    delta: float = 0.9,
    ridge: float = 0.0,
    validate: int = 0,
    missing: str = "raise",
    rng: _random.RNG = None,
) -> WeightedLstsqResult:
    """Approximate a function in the span of a basis from few values, at points chosen for that.

    Points are drawn where the basis is large, weights correct for it, and the spectrum of the Gram matrix says
    afterwards how stable the fit is: within a small factor of the best approximation.

    Parameters
    ----------
    f : callable, or array of values
        f(x) returns (n,) or (n, q) for all points together: x is (n, dim), (n,) where dim is 1, or row indices (n,) for discrete
        features. An array holds the values at the points of a `Design`, or, without one, at all items of `DiscreteFeatures`.
    basis : Basis
        m functions, orthonormal in L2(mu): `Legendre`, ..., `TensorBasis`, `DiscreteFeatures`, `FeatureBasis`.
    n : int, n >= m, optional
        Number of points. By default 2 m, and m more at a time until the fit is stable ("repeated_dpp"); m for "dpp"; what
        theory asks for ("christoffel", "volume"); as few as stability permits ("greedy").
    design : {"repeated_dpp", "christoffel", "volume", "dpp", "greedy"} or Design
        See `repeated_dpp`, `christoffel_sample`, `volume_sample`, `sample_dpp`. "greedy" takes the best of 100 independent
        designs and leaves out points while ||G - I|| <= delta. A Design has points that were drawn before.
    delta : float, 0 < delta < 1
        How far eigenvalues of G may be from 1.
    ridge : float, ridge >= 0
        Adds ridge ||v||_L2^2 to the squared residual.
    validate : int, validate >= 0
        Estimate the error at so many fresh points.
    missing : {"raise", "redraw"}
        What to do where f is NaN or infinite. "redraw" puts another independent point in its place, which restricts nu to where f is
        defined; it is allowed for "christoffel" only, as other points depend on each other.
    rng : None, int or numpy.random.Generator
        An int gives the same points for every number of threads.

    Returns
    -------
    WeightedLstsqResult
        x, design, residual_norm, loo_error, validation, lambda_min, lambda_max, certificate; `predict`, `enlarge`.

    Raises
    ------
    ValueError
        An argument is out of range, or f raises or has no finite value at a point.
    TypeError
        An argument has the wrong type, or values and features belong to different libraries.

    Warns
    -----
    ConvergenceWarning
        No design passed its test, or the points do not determine all coefficients.

    Notes
    -----
    Cost: n evaluations of f, the design, and 2 n m^2 flops for a QR factorization; memory two n x m arrays.

    Certificate: the coefficients minimize ||f - v||_n, so ||v - f^||_n <= ||f - v||_n for every v in the span, and ||v - f^||_L2^2
    <= ||v - f^||_n^2 / lambda_min(G). The bound is 1 / sqrt(lambda_min), with lambda_min less its rounding errors; `rounding` is
    the perturbation of the values that explains those of the coefficients. With a ridge, lambda_min + ridge takes its place
    and ridge ||v||^2 joins ||f - v||_n^2. All of it is computed from the points alone, and holds for every f.

    `loo_error` and `validation` are statistical. Nothing that decides about the design looks at f.

    References
    ----------
    .. [1] Nouy and Michel, Weighted least-squares approximation with determinantal point processes and generalized
       volume sampling, arXiv:2312.14057. Repeated determinantal samples.
    .. [2] Cohen and Migliorati, Optimal weighted least-squares methods, SMAI J. Comput. Math. 3, 2017. Weights and stability.
    .. [3] Haberstich, Nouy and Perrin, Boosted optimal weighted least-squares, Math. Comp. 91, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.dpp import Legendre, weighted_lstsq
    >>> result = weighted_lstsq(lambda x: np.exp(-((x - 1) ** 2) / 4), Legendre(12), rng=0)
    >>> x = np.linspace(-1, 1, 1000)
    >>> bool(abs(result.predict(x) - np.exp(-((x - 1) ** 2) / 4)).max() < 1e-8)
    True
    >>> 24 <= result.design.size <= 48
    True
    """
    seed = _random.seed_of(NAME, rng)
    ridge, validate = _checks.real(NAME, "ridge", ridge, 0), _checks.integer(NAME, "validate", validate)
    delta = _checks.real(NAME, "delta", delta, 0, 1, open=True)
    _check_combination(f, basis, n, design, missing, validate)
    drawn = design if isinstance(design, Design) else _draw(basis, n, design, delta, seed)
    if not callable(f) and isinstance(design, Design):
        return answer(basis, drawn, enter_values(NAME, "f", f, basis, drawn.size, finite=True), ridge, ((drawn.size, basis),))
    call = f if callable(f) else _looked_up(f, basis)
    if missing == "redraw":
        drawn, values = _redrawn(call, basis, drawn, seed)
    else:
        values = measure(NAME, call, basis, inside(basis, drawn))
    result = answer(basis, drawn, values, ridge, ((drawn.size, basis),))
    return replace(result, validation=_validated(call, result, validate, seed)) if validate else result


def _check_combination(f: Any, basis: Any, n: int | None, design: Any, missing: str, validate: int) -> None:
    """Refuse arguments that do not go together.

    Raises
    ------
    TypeError
        basis is none.
    ValueError
        The combination has no meaning.
    """
    check_basis(NAME, basis)
    given = isinstance(design, Design)
    if not given:
        _checks.choice(NAME, "design", design, DESIGNS)
    _checks.choice(NAME, "missing", missing, ("raise", "redraw"))
    if n is not None and (given or design == "dpp"):
        have = design.size if given else basis.size
        _checks.integer(NAME, "n", n, have, have)
    if not callable(f) and not given and not basis.discrete:
        raise ValueError(f"{NAME}: f must be callable, or a Design must say where its values were measured; got an array")
    if not callable(f) and given and validate:
        raise ValueError(f"{NAME}: f must be callable for validate = {validate}; got an array")
    if missing == "redraw" and (design != "christoffel" or not callable(f)):
        raise ValueError(f'{NAME}: missing must be "raise" unless design is "christoffel" and f is callable; got "redraw"')


def _draw(basis: Basis, n: int | None, design: str, delta: float, seed: int) -> Design:
    """Draw a design by name."""
    if design == "repeated_dpp":
        return repeated_dpp(basis, n, delta=delta, rng=seed)
    if design == "christoffel":
        return christoffel_sample(basis, n, delta=delta, rng=seed)
    if design == "volume":
        return volume_sample(basis, n, delta=delta, rng=seed)
    if design == "greedy":
        return christoffel_sample(basis, delta=delta, best_of=BEST_OF, subsample=True if n is None else n, rng=seed)
    x, proposals = determinantal(basis, 1, _random.host_generator(seed, NAME))
    drawn = make_design(basis, x, kind="dpp", repeats=1, proposals=proposals)
    missed = shortfall(basis, sites_of(basis, drawn))
    if missed <= delta:
        return drawn
    words = f"{NAME}: one determinantal sample has lambda_min(G) = {drawn.lambda_min:.3g}, less than 1 - delta = {1 - delta:.3g}"
    warnings.warn(f'{words}; "repeated_dpp" adds more', ConvergenceWarning, stacklevel=3)
    return replace(drawn, converged=False)


def _looked_up(values: Any, basis: Any) -> Callable[[Array], Any]:
    """Make a function of row indices from values at all items."""
    whole = enter_values(NAME, "f", values, basis, basis.mu.size)
    return lambda indices: whole.rows(np.asarray(_arrays.to_numpy(indices)))


def _redrawn(f: Callable[[Array], Any], basis: Basis, drawn: Design, seed: int) -> tuple[Design, Values]:
    """Evaluate f at independent points, and at others instead where it has no value."""
    old = inside(basis, drawn)
    x, values = redrawn(NAME, f, basis, old, _random.host_generator(seed, "redraw"))
    if np.array_equal(x, old):
        return drawn, values
    return make_design(basis, x, kind=drawn.kind, trials=drawn.trials, converged=drawn.converged), values


def answer(basis: Basis, drawn: Design, values: Values, ridge: float, strata: tuple[tuple[int, Basis], ...]) -> WeightedLstsqResult:
    """Fit the values and build the answer; `strata` say how many points came from which basis."""
    fitted = fit(basis, sites_of(basis, drawn), values.B, ridge)
    if fitted.rank < basis.size:
        words = f"{NAME}: {drawn.size} points determine only {fitted.rank} of {basis.size} coefficients; x is the solution of least norm"
        warnings.warn(words, ConvergenceWarning, stacklevel=3)
    root, norm = math.sqrt(fitted.least), np.linalg.norm(fitted.C, axis=0).max()
    x = basis.coefficients(fitted.C) if hasattr(basis, "coefficients") else fitted.C  # type: ignore[attr-defined]
    return WeightedLstsqResult(
        x=values.leave(x),
        basis=basis,
        design=drawn,
        values=values.leave(values.B),
        residual_norm=values.numbers(fitted.residual),
        loo_error=values.numbers(fitted.loo),
        validation=None,
        lambda_min=drawn.lambda_min,
        lambda_max=drawn.lambda_max,
        rounding=fitted.rounding + (root * values.roundoff * float(norm) if root else 0.0),
        rank=fitted.rank,
        converged=drawn.converged and fitted.rank == basis.size,
        certificate=Certificate(RIDGE_CLAIM if ridge else CLAIM, 1 / root if root else math.inf, 1.0, "eigenvalues of G"),
        ridge=ridge,
        C=fitted.C,
        strata=strata,
        measured=values,
    )


def _validated(f: Callable[[Array], Any], result: WeightedLstsqResult, count: int, seed: int) -> Validation:
    """Compare with f at independent points of mu."""
    basis = result.basis
    x = basis.draw_mu(count, _random.host_generator(seed, "validation"))
    B = measure(NAME, f, basis, x).B
    squares = np.abs(B - basis.eval(x) @ result.C) ** 2 * getattr(basis, "mass", 1.0)
    mean = squares.mean(axis=0)
    spread = QUANTILE * squares.std(axis=0, ddof=1) / math.sqrt(count) if count > 1 else np.full_like(mean, math.inf)
    error, low, high = (result.measured.numbers(np.sqrt(np.maximum(part, 0.0))) for part in (mean, mean - spread, mean + spread))
    return Validation(error, low, high, LEVEL, count)

"""The options of a model: checked once, and spread over the modes when their number is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lowrank_la import _checks
from lowrank_la.functional_tucker._data import Axis
from lowrank_la.functional_tucker._kernels import KERNELS, Prior

NAME = "FunctionalTucker"
FULL = 2000  # entries of a core whose covariance is kept
LARGEST = 1 << 27  # packed second moments of a core


@dataclass(frozen=True)
class Options:
    """What the user chose; the first four hold one value, or one for each mode."""

    ranks: Any
    kernel: Any
    lengthscale: Any
    period: Any
    format: str
    variance: float
    core_posterior: str
    learn: bool
    noise_prior: Any
    n_init: int
    max_iter: int
    tol: float
    held_out: float
    as_published: bool

    @property
    def modes(self) -> int | None:
        """Number of modes, if an option says it."""
        return next((len(x) for x in (self.ranks, self.kernel, self.lengthscale, self.period) if isinstance(x, tuple)), None)

    @property
    def cp(self) -> bool:
        """Whether the core is fixed."""
        return self.format == "cp"

    @property
    def full(self) -> bool:
        """Whether the core's covariance is kept."""
        return self.core_posterior == "full" or (self.core_posterior == "auto" and math.prod(self.ranks) <= FULL)

    def spread(self, where: str, K: int) -> Options:
        """Give every mode its values.

        Raises
        ------
        ValueError
            The core is too large, or ranks that must be equal are not.
        """
        spread = {name: _each(getattr(self, name), K) for name in ("ranks", "kernel", "lengthscale", "period")}
        ranks, size = spread["ranks"], math.prod(R * (R + 1) // 2 for R in spread["ranks"])
        if not self.cp and size > LARGEST:
            raise ValueError(f"{where}: ranks must make at most {LARGEST} products R_k (R_k + 1) / 2 of all modes; got {size}")
        if (self.cp or self.as_published) and len(set(ranks)) > 1:
            raise ValueError(f"{where}: ranks must be equal for {'format' if self.cp else 'as_published'}; got {ranks}")
        return replace(self, **spread)

    def prior(self, k: int, axis: Axis) -> Prior:
        """Return the prior of a mode, in the units of its axis."""
        if self.kernel[k] != "periodic":
            return Prior(self.kernel[k], self.lengthscale[k], self.variance)
        period = self.period[k] / axis.length
        return Prior("periodic", min(max(self.lengthscale[k], period / 30), period / 3), self.variance, period)


def checked(options: Options) -> Options:
    """Check every option; sequences become tuples of one length.

    Raises
    ------
    ValueError
        A value is out of range, lengths differ, or a periodic mode has no period.
    TypeError
        A value has the wrong type.
    """
    several = {
        "ranks": _all(options.ranks, lambda R: _checks.integer(NAME, "ranks", R, 1)),
        "kernel": _all(options.kernel, lambda name: _checks.choice(NAME, "kernel", name, KERNELS)),
        "lengthscale": _all(options.lengthscale, lambda x: _checks.real(NAME, "lengthscale", x, 0, open=True)),
        "period": _all(options.period, lambda x: None if x is None else _checks.real(NAME, "period", x, 0, open=True)),
    }
    lengths = {name: len(x) for name, x in several.items() if isinstance(x, tuple)}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        got = ", ".join(f"{n} {name}" for name, n in lengths.items())
        raise ValueError(f"{NAME}: options for each mode must be given for the same number of modes, one at least; got {got}")
    _check_periods(several["kernel"], several["period"])
    a, b = _pair(options.noise_prior)
    return replace(
        options,
        **several,
        format=_checks.choice(NAME, "format", options.format, ("tucker", "cp")),
        variance=_checks.real(NAME, "variance", options.variance, 0, open=True),
        core_posterior=_checks.choice(NAME, "core_posterior", options.core_posterior, ("auto", "full", "independent")),
        learn=_checks.choice(NAME, "learn", options.learn, (False, True)),
        noise_prior=(_checks.real(NAME, "noise_prior", a, 0, open=True), _checks.real(NAME, "noise_prior", b, 0, open=True)),
        n_init=_checks.integer(NAME, "n_init", options.n_init, 1),
        max_iter=_checks.integer(NAME, "max_iter", options.max_iter, 1),
        tol=_checks.real(NAME, "tol", options.tol, 0),
        held_out=_checks.real(NAME, "held_out", options.held_out, 0, 0.9),
        as_published=_checks.choice(NAME, "as_published", options.as_published, (False, True)),
    )


def _all(value: Any, check: Any) -> Any:
    """Check one value, or each of a sequence."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(check(x) for x in value)
    return check(value)


def _each(value: Any, K: int) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,) * K


def _check_periods(kernel: Any, period: Any) -> None:
    names, periods = _each(kernel, 1), _each(period, 1)
    length = max(len(names), len(periods))
    names, periods = (x * length if len(x) == 1 else x for x in (names, periods))
    for name, here in zip(names, periods, strict=True):
        if (name == "periodic") != (here is not None):
            raise ValueError(f"{NAME}: period must be given for periodic modes, and for these only; got {here} for {name!r}")


def _pair(noise_prior: Any) -> tuple[Any, Any]:
    if not isinstance(noise_prior, Sequence) or isinstance(noise_prior, str) or len(noise_prior) != 2:
        raise TypeError(f"{NAME}: noise_prior must be a pair of numbers; got {noise_prior!r}")
    return noise_prior[0], noise_prior[1]

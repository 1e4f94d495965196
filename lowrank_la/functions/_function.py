"""`FunctionTucker`: a function on a box in Chebyshev-Tucker format, with its calculus."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate, Result
from lowrank_la.functions import _algebra, _arithmetic, _calculus, _evaluate, _evidence, _operands, _parts, _picture, _saved
from lowrank_la.functions._arithmetic import PRODUCT_TOL
from lowrank_la.functions._evidence import SAME_DEGREES, bound_of, follow, roundoff
from lowrank_la.functions._parts import Parts
from lowrank_la.tensors import TuckerResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


NAME = "FunctionTucker"


@dataclass(frozen=True, repr=False)
class FunctionTucker(Result):
    """A function of d variables on a box in Chebyshev-Tucker format, made by `chebyshev_tucker`.

    f(x) = sum_j core[j_1, ..., j_d] prod_k v_k(x_k)[j_k], where v_k(x) = sum_i T_i(x) factors[k][i, :] are polynomials, and T_i is
    the Chebyshev polynomial of degree i, mapped from [-1, 1] to domain[k]. Call it with d arrays of coordinates that broadcast, or, for
    d > 1, with one array (..., d) of points. Functions add, subtract and multiply, with each other and with numbers.

    Attributes
    ----------
    core : array (r_1, ..., r_d), or (p, r_1, ..., r_d) for a function with p outputs
        Real or complex. It bears the scale of the function.
    factors : tuple of arrays (m_k, r_k)
        Chebyshev coefficients, in orthonormal columns.
    domain : numpy array (d, 2)
        The box.
    certificate : Certificate
        Bounds the root mean square of the error for the Chebyshev measure: the law on the box under which the angles arccos(x_k), for
        x_k mapped to [-1, 1], are uniform and independent. Operations pass it on: sums add bounds, an integral multiplies by the
        length of the interval. What differentiates or fixes a variable magnifies errors without limit
        unless they are polynomials; the claim then names that condition.
    resolved : bool
        The degrees reached the tolerance.
    tail : tuple of d floats
        Norm of the last coefficients of each variable over that of all: what a derivative magnifies.
    truncation : float
        Frobenius norm of the coefficients that were left out for lower ranks and degrees.
    sample_max, sample_rms : float
        Largest error and root mean square of the error at random points, seen by the constructor; inf where none were seen.
    stability : float
        Growth of errors by interpolation at chosen fibres, 1 if there was none.
    n_evaluations : int
        Evaluations of the original function.

    Notes
    -----
    Points outside the domain, but for rounding errors, are an error: polynomials mean nothing there. Values have the library, device
    and precision of the points; sums and derivatives those of the function. Columns of factors are orthonormal after every
    operation, so that derivatives lose no more digits than differentiation costs.

    References
    ----------
    .. [1] Hashemi and Trefethen, Chebfun in three dimensions, SIAM J. Sci. Comput. 39(5), 2017. A calculus of functions in Tucker format.
    .. [2] Dolgov, Kressner and Stroessner, Functional Tucker approximation using Chebyshev interpolation,
       SIAM J. Sci. Comput. 43(3), 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la import chebyshev_tucker
    >>> f = chebyshev_tucker(lambda x, y: np.exp(-x) * np.cos(y), [(0, 1), (0, 2)], tol=1e-10, rng=0)
    >>> bool(abs(f(0.3, 1.5) - np.exp(-0.3) * np.cos(1.5)) < 1e-8)
    True
    >>> g = f.derivative(0) + f
    >>> g.ranks, bool(g.norm() < 1e-6)
    ((1, 1), True)
    >>> bool(abs(f.integral() - (1 - np.exp(-1)) * np.sin(2)) < 1e-8)
    True
    """

    core: Array
    factors: tuple[Array, ...] = field(repr=False)
    domain: np.ndarray
    certificate: Certificate
    resolved: bool
    tail: tuple[float, ...]
    truncation: float
    sample_max: float
    sample_rms: float
    stability: float
    n_evaluations: int

    __array_ufunc__ = None  # NumPy leaves `number * f` to f

    @property
    def dim(self) -> int:
        """Number of variables."""
        return len(self.factors)

    @property
    def ranks(self) -> tuple[int, ...]:
        """Functions of one variable in each factor."""
        return tuple(V.shape[1] for V in self.factors)

    @property
    def degrees(self) -> tuple[int, ...]:
        """Degree of the polynomials in each variable."""
        return tuple(V.shape[0] - 1 for V in self.factors)

    @property
    def outputs(self) -> int | None:
        """Length of a vector-valued function, None for numbers."""
        return self.core.shape[0] if self.core.ndim > self.dim else None

    def __repr__(self) -> str:
        words = f"{self.dim} variables, degrees {self.degrees}, ranks {self.ranks}"
        return f"{super().__repr__()}\n  {words}"

    def __call__(self, *points: Any) -> Array:
        """Evaluate at points: d arrays of coordinates that broadcast, or for d > 1 one array (..., d); outputs come first.

        Coordinates that vary along different axes, like those of `numpy.ix_`, are evaluated as a grid. Cost: 2 (sum m_k r_k +
        prod r_k) flops a point.

        Raises
        ------
        ValueError
            A point is outside the domain, or has more or fewer coordinates.
        TypeError
            Coordinates are complex or no arrays of numbers.
        """
        door, coordinates = _evaluate.enter(NAME, points, self.dim)
        return _leave_values(door, _evaluate.at_points(NAME, self._beside(coordinates[0]), coordinates))

    def grid(self, *axes: Array) -> Array:
        """Evaluate on the grid of one vector for each variable, shape (n_1, ..., n_d), after the axis of outputs.

        Raises
        ------
        ValueError
            A point is outside the domain, or there are more or fewer axes than variables.
        """
        door, parts, tables = self._tables("grid", axes)
        return _leave_values(door, parts.contracted(tables))

    def to_tucker(self, *axes: Array) -> TuckerResult:
        """Give the values on the grid of one vector for each variable as a tensor in Tucker format, which is never formed whole.

        Its ranks are at most those of the function; the certificate compares it with the values of the function.

        Raises
        ------
        ValueError
            A point is outside the domain, there are more or fewer axes than variables, an axis is empty, or the function is
            vector-valued.
        """
        door, parts, tables = self._tables("to_tucker", axes)
        _operands.refuse_outputs(f"{NAME}.to_tucker", parts)
        for k, table in enumerate(tables):
            _checks.not_empty(f"{NAME}.to_tucker", f"x{k}", table)
        values = _parts.orthonormal(Parts(parts.core, tuple(tables), parts.domain))
        bound = roundoff(values)
        size = _parts.frobenius(values.core)
        return TuckerResult(
            core=_leave_values(door, values.core),
            factors=tuple(_leave_values(door, V) for V in values.factors),
            error=bound,
            relative_error=bound / size if size else 0.0,
            tails=(0.0,) * self.dim,
            history=(),
            converged=True,
            certificate=Certificate("Frobenius norm of the distance from the values of the function <= bound", bound, 1.0, "rounding"),
        )

    def derivative(self, axis: int, order: int = 1) -> FunctionTucker:
        """Differentiate `order` times along one axis, exactly; the error grows by up to (degree^2 * 2 / length)^order.

        Raises
        ------
        ValueError
            There is no such axis, or the order is negative.
        """
        name = f"{NAME}.derivative"
        axis, order = _checks.integer(name, "axis", axis, 0, self.dim - 1), _checks.integer(name, "order", order)
        door, parts = self._inside()
        growth = self._growth(axis, order)
        bound = growth * (bound_of(self.certificate) + roundoff(parts))
        return self._answer(door, _calculus.derivative(parts, axis, order), bound, "derivative", SAME_DEGREES, growth)

    def laplacian(self) -> FunctionTucker:
        """Return the sum of the second derivatives; ranks at most double."""
        door, parts = self._inside()
        growth = sum(self._growth(axis, 2) for axis in range(self.dim))
        whole, terms = _calculus.laplacian(parts)
        result, dropped = _algebra.compressed(whole, _algebra.noise(whole, terms))
        bound = growth * (bound_of(self.certificate) + roundoff(parts)) + dropped
        return self._answer(door, result, bound, "derivative", SAME_DEGREES, growth)

    def integral(self, axes: Sequence[int] | int | None = None) -> Any:
        """Integrate over some axes, which leaves a function of the others, or over all, which gives a number or one for each output.

        The integral over all axes is in error by at most 1.111^d times the volume times the bound of the certificate.

        Raises
        ------
        ValueError
            There is no such axis, or one is named twice.
        """
        name = f"{NAME}.integral"
        chosen = range(self.dim) if axes is None else _operands.axes_of(name, axes, self.dim)
        door, parts = self._inside()
        result = _calculus.integral(parts, chosen)
        if not result.factors:
            return door.leave_wide(result.core) if result.lead else _operands.number(result.core)
        size = math.prod(self._length(axis) * _calculus.MEAN_SQUARE for axis in chosen)
        return self._answer(door, result, size * (bound_of(self.certificate) + roundoff(parts)), "integral", "", size)

    def marginal(self, axes: Sequence[int] | int) -> FunctionTucker:
        """Integrate over all axes but these, which stay in their order.

        Raises
        ------
        ValueError
            There is no such axis, or one is named twice.
        """
        kept = _operands.axes_of(f"{NAME}.marginal", axes, self.dim)
        return self.integral([axis for axis in range(self.dim) if axis not in kept]) if len(kept) < self.dim else self

    def antiderivative(self, axis: int) -> FunctionTucker:
        """Integrate along one axis from the lower end of its interval.

        Raises
        ------
        ValueError
            There is no such axis.
        """
        axis = _checks.integer(f"{NAME}.antiderivative", "axis", axis, 0, self.dim - 1)
        door, parts = self._inside()
        size = self._length(axis) * _calculus.MEAN_SQUARE
        bound = size * (bound_of(self.certificate) + roundoff(parts))
        return self._answer(door, _calculus.antiderivative(parts, axis), bound, "integral", "", size)

    def slice(self, values: Mapping[int, float]) -> FunctionTucker:
        """Fix some variables, `{axis: value}`, which leaves a function of the others.

        Raises
        ------
        ValueError
            There is no such axis, a value is outside the domain, or no variable is left.
        """
        values = _operands.values_in(f"{NAME}.slice", "values", values, self.domain)
        if len(values) == self.dim:
            raise ValueError(f"{NAME}.slice: values must leave a variable; got one for each (call the function instead)")
        door, parts = self._inside()
        growth = math.prod(_calculus.slice_growth(self.degrees[k] + 1, x, self.domain[k]) for k, x in values.items())
        bound = growth * (bound_of(self.certificate) + roundoff(parts))
        return self._answer(door, _calculus.fixed(parts, values), bound, "slice", SAME_DEGREES if values else "", growth)

    def inner(self, other: FunctionTucker, weight: str = "lebesgue") -> Any:
        """Return the inner product, conjugate linear in this function; for "chebyshev", the mean of the product for that measure.

        Raises
        ------
        ValueError
            The functions differ in their variables, domain or outputs, or there is no such weight.
        TypeError
            other is no function.
        """
        name = f"{NAME}.inner"
        _checks.choice(name, "weight", weight, ("lebesgue", "chebyshev"))
        _, one, two = _arithmetic.pair(name, self, other)
        return _operands.number(_calculus.inner(one, two, weight))

    def norm(self, weight: str = "lebesgue") -> float:
        """Return the square root of the integral of |f|^2; for "chebyshev", the root mean square for that measure.

        Raises
        ------
        ValueError
            There is no such weight.
        """
        _checks.choice(f"{NAME}.norm", "weight", weight, ("lebesgue", "chebyshev"))
        return _calculus.norm(self._inside()[1], weight)

    def __add__(self, other: Any) -> FunctionTucker:
        """Add a function of the same variables, or a number; terms that cancel leave a zero function of ranks 1."""
        return _arithmetic.total(f"{NAME} + FunctionTucker", self, other, 1.0)

    __radd__ = __add__

    def __sub__(self, other: Any) -> FunctionTucker:
        """Subtract a function of the same variables, or a number."""
        return _arithmetic.total(f"{NAME} - FunctionTucker", self, other, -1.0)

    def __rsub__(self, other: Any) -> FunctionTucker:
        """Subtract this function from a number."""
        return -self + other

    def __neg__(self) -> FunctionTucker:
        """Change the sign."""
        return self * -1.0

    def __mul__(self, other: Any) -> FunctionTucker:
        """Multiply by a number, or by a function of the same variables as `product` does by default."""
        number = _operands.as_number(other)
        if number is None:
            return self.product(other) if isinstance(other, FunctionTucker) else NotImplemented
        door, parts = self._inside()
        size = abs(number)
        bound = size * (bound_of(self.certificate) + roundoff(parts)) if size else 0.0
        return self._answer(door, _operands.scaled(parts, number), bound, "multiple", "", size)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> FunctionTucker:
        """Divide by a number."""
        number = _operands.as_number(other)
        return NotImplemented if number is None else self * (1 / number)

    def product(self, other: FunctionTucker, *, tol: float = PRODUCT_TOL, rng: _random.RNG = 0) -> FunctionTucker:
        """Multiply by a function of the same variables, to a tolerance relative to the norm of the coefficients.

        Ranks multiply and degrees add before what is below the tolerance is left out; products that would take too much memory
        on the way are sampled by `chebyshev_tucker`.

        Raises
        ------
        ValueError
            The functions differ in their variables or domain, are vector-valued, or tol is not between 0 and 1.
        TypeError
            other is no function.
        """
        name = f"{NAME}.product"
        tol, seed = _checks.real(name, "tol", tol, 0, 1), _random.seed_of(name, rng)
        return _arithmetic.product(name, self, other, tol, seed)

    def compose(self, function: Callable[[Array], Array], *, tol: float = 1e-7, rng: _random.RNG = 0) -> FunctionTucker:
        """Approximate function(f(x)) for a function of one variable that acts entry by entry, by `chebyshev_tucker`.

        Raises
        ------
        ValueError
            The function is vector-valued.
        TypeError
            `function` is not callable.
        """
        name = f"{NAME}.compose"
        if not callable(function):
            raise TypeError(f"{name}: function must be callable; got {type(function).__name__}")
        _operands.refuse_outputs(name, self._inside()[1])
        return _arithmetic.sampled(lambda *x: function(self(*x)), (self,), tol, rng)

    def round(self, tol: float = 0.0, *, ranks: Sequence[int] | None = None) -> FunctionTucker:
        """Lower ranks and degrees where the coefficients change by at most `tol` times their norm, and to given ranks at most.

        Raises
        ------
        ValueError
            tol is not between 0 and 1, or there is not one rank of at least 1 for each variable.
        """
        name = f"{NAME}.round"
        tol = _checks.real(name, "tol", tol, 0, 1)
        ranks = None if ranks is None else _operands.ranks_of(name, ranks, self.dim)
        door, parts = self._inside()
        result, dropped = _algebra.compressed(parts, tol * _parts.frobenius(parts.core), ranks)
        answer = self._answer(door, result, bound_of(self.certificate) + dropped + roundoff(parts), "discarded coefficients")
        return replace(answer, truncation=math.hypot(self.truncation, dropped))

    def plot(self, *, at: Mapping[int, float] | None = None, n: int = 200) -> Figure:
        """Draw the function: a curve for one variable, else images of slices through `at`, the centre by default (extra `plot`).

        Raises
        ------
        ValueError
            A value of `at` is outside the domain.
        """
        name = f"{NAME}.plot"
        centre = {axis: float(a + b) / 2 for axis, (a, b) in enumerate(self.domain)}
        place = centre | _operands.values_in(name, "at", at or {}, self.domain)
        return _picture.draw(self, place, _checks.integer(name, "n", n, 2))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to an npz file."""
        _saved.write(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FunctionTucker:
        """Read what `save` wrote, as NumPy arrays; values still follow the points.

        Raises
        ------
        ValueError
            It is not such a file.
        """
        return cls(**_saved.read(cls.__name__, path))

    def _inside(self) -> tuple[Door, Parts]:
        names = [f"factor{k}" for k in range(self.dim)]
        door, [core, *factors] = _arrays.enter(NAME, core=self.core, **dict(zip(names, self.factors, strict=True)))
        return door, Parts(core, tuple(factors), self.domain)

    def _beside(self, x: Array) -> Parts:
        """Bring core and factors to the namespace and device of an array inside."""
        _, parts = self._inside()
        if _arrays.namespace(parts.core) is _arrays.namespace(x) and parts.core.device == x.device:
            return parts
        core, *factors = (_arrays.from_numpy(_arrays.to_numpy(part), x) for part in (parts.core, *parts.factors))
        return Parts(core, tuple(factors), parts.domain)

    def _tables(self, method: str, axes: Sequence[Array]) -> tuple[Door, Parts, list[Array]]:
        """Take the axes of a grid inside, and evaluate the functions of one variable there.

        Raises
        ------
        ValueError
            There are more or fewer axes than variables.
        """
        name = f"{NAME}.{method}"
        if len(axes) != self.dim:
            raise ValueError(f"{name}: axes must be {self.dim} vectors, one for each variable; got {len(axes)}")
        door, inside = _evaluate.entered(name, axes)
        for k, x in enumerate(inside):
            _checks.ndim(name, f"x{k}", x, 1)
        parts = self._beside(inside[0])
        return door, parts, _evaluate.on_axes(name, parts, inside)

    def _length(self, axis: int) -> float:
        return float(self.domain[axis, 1] - self.domain[axis, 0])

    def _growth(self, axis: int, order: int) -> float:
        return _calculus.derivative_growth(self.degrees[axis] + 1, self._length(axis), order)

    def _answer(self, door: Door, parts: Parts, bound: float, method: str, suffix: str = "", growth: float = 1.0) -> FunctionTucker:
        """Hand out what became of this function; `growth` is what its errors are multiplied by."""
        certificate = follow([self.certificate], bound, method, suffix)
        return _arithmetic.combined(door, parts, (self,), certificate, growth * self.truncation)


def function_of(
    core: Array,
    factors: Sequence[Array],
    domain: np.ndarray,
    *,
    door: Door | None = None,
    certificate: Certificate | None = None,
    resolved: bool = True,
    tail: tuple[float, ...] | None = None,
    truncation: float = 0.0,
    sample_max: float = math.inf,
    sample_rms: float = math.inf,
    stability: float = 1.0,
    n_evaluations: int = 0,
) -> FunctionTucker:
    """Build the answer from a core and coefficients of one dtype and any condition, inside, which `door` hands to the caller.

    Columns become orthonormal, which may lower ranks; a missing tail is measured; a missing certificate promises nothing.
    """
    parts = _parts.orthonormal(Parts(core, tuple(factors), np.asarray(domain, dtype=np.float64)))
    leave: Callable[[Array], Array] = door.leave_wide if door is not None else lambda x: x
    return FunctionTucker(
        core=leave(parts.core),
        factors=tuple(map(leave, parts.factors)),
        domain=parts.domain,
        certificate=certificate or _evidence.unknown(),
        resolved=resolved,
        tail=_parts.tails(parts) if tail is None else tail,
        truncation=truncation,
        sample_max=sample_max,
        sample_rms=sample_rms,
        stability=stability,
        n_evaluations=n_evaluations,
    )


def _leave_values(door: Door, values: Array) -> Array:
    """Hand out values in the precision of the points, complex where the function is."""
    xp = door.xp
    if not xp.isdtype(values.dtype, "complex floating"):
        return door.leave(values)
    return door.leave_wide(xp.astype(values, xp.complex64 if door.dtype == xp.float32 else xp.complex128, copy=False))

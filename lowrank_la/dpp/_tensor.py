"""Products of functions of one variable."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _checks
from lowrank_la.dpp._bases import Functions, Univariate
from lowrank_la.dpp._indices import Index, multi_indices

LARGE = 2.0**200  # squares of products beyond it might overflow


@dataclass(frozen=True, repr=False)
class TensorBasis(Functions):
    """Products phi_i(x) = prod_k phi_(i_k)(x_k) for the multi-indices i of a set, orthonormal for the product measure.

    Parameters
    ----------
    families : basis of one variable, or sequence of them
        One for all coordinates, or one for each. Each must have more functions than the largest index in its coordinate.
    indices : sequence of sequences of int, or array (m, dim)
        Multi-indices, as from `total_degree`, `hyperbolic_cross`, `tensor_product` or `lower_set`.

    Raises
    ------
    ValueError
        An index is negative, occurs twice or is too large for its family, or there are not as many families as coordinates.
    TypeError
        An entry is no integer, or a family no basis of one variable.

    Notes
    -----
    Evaluation at n points: tables of the families and n m dim products. A point of nu is drawn by
    drawing an index, then each coordinate from the square of its function.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.dpp import Hermite, Legendre, TensorBasis, total_degree
    >>> basis = TensorBasis((Legendre(3), Hermite(3)), total_degree(2, 2))
    >>> basis
    TensorBasis(Legendre x Hermite, 6 functions)
    >>> bool(np.allclose(basis.gram(), np.eye(6)))
    True
    """

    families: tuple[Univariate, ...]
    indices: tuple[Index, ...]

    def __init__(self, families: Any, indices: Any) -> None:
        chosen = multi_indices("TensorBasis", indices)
        dim = len(chosen[0])
        families = (families,) * dim if isinstance(families, Univariate) else _checks.several("TensorBasis", "families", families)
        for family in families:
            if not isinstance(family, Univariate):
                raise TypeError(f"TensorBasis: families must be bases of one variable; got {type(family).__name__}")
        if len(families) != dim:
            raise ValueError(f"TensorBasis: families must be {dim}, one for each coordinate of the indices; got {len(families)}")
        for k, family in enumerate(families):
            highest = max(index[k] for index in chosen)
            if highest >= family.size:
                raise ValueError(
                    f"TensorBasis: indices must be below {family.size} in coordinate {k}, as many as {family!r}; got {highest}"
                )
        object.__setattr__(self, "families", families)
        object.__setattr__(self, "indices", chosen)
        object.__setattr__(self, "size", len(chosen))
        object.__setattr__(self, "dim", dim)

    def __repr__(self) -> str:
        names = [type(family).__name__ for family in self.families]
        product = f"{len(names)} x {names[0]}" if len(names) > 1 and len(set(names)) == 1 else " x ".join(names)
        return f"TensorBasis({product}, {self.size} functions)"

    @functools.cached_property
    def _table(self) -> np.ndarray:
        return np.array(self.indices, dtype=np.int64)

    def values(self, x: np.ndarray) -> np.ndarray:
        """Return phi(x_i) (n, m) at checked points (n, dim)."""
        V = np.ones((x.shape[0], self.size))
        for k, family in enumerate(self.families):
            V = V * family.values(x[:, k : k + 1])[:, self._table[:, k]]
        return V

    def scaled(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return V (n, m) and s (n,) with phi(x_i) = exp(s_i) V_i."""
        V, scale = np.ones((x.shape[0], self.size)), np.zeros(x.shape[0])
        for k, family in enumerate(self.families):
            values, s = family.scaled(x[:, k : k + 1])
            V, scale = V * values[:, self._table[:, k]], scale + s
            size = np.abs(V).max(axis=1)
            if size.max(initial=0.0) > LARGE:
                size[size == 0] = 1.0
                V, scale = V / size[:, None], scale + np.log(size)
        return V, scale

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent points (n, dim) from nu = ||phi||^2 / m dmu."""
        index = self._table[generator.integers(0, self.size, n)]
        return np.stack([family.draw_squares(index[:, k], generator) for k, family in enumerate(self.families)], axis=1)

    def draw_mu(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """Draw n independent points (n, dim) from mu."""
        return np.concatenate([family.draw_mu(n, generator) for family in self.families], axis=1)

    def gram(self) -> np.ndarray:
        """Return the inner products (m, m) in L2(mu) of the functions: products of those of the families."""
        G = np.ones((self.size, self.size))
        for k, family in enumerate(self.families):
            G = G * family.gram()[np.ix_(self._table[:, k], self._table[:, k])]
        return G

"""asv benchmarks of determinantal samples: time against numbers of items and functions, and kinds of processes."""

import numpy as np

from benchmarks.compare.dpp import _features, error, ours
from lowrank_la.dpp import Fourier, Legendre, TensorBasis, sample_dpp, sample_l_ensemble, total_degree, weighted_lstsq


class Items:
    """Samples of items for features that are orthonormal already."""

    params = ((300, 10_000, 100_000), (10, 50, 200))
    param_names = ("items", "functions")

    def setup(self, items, functions):
        self.problem = _features(items, functions, 20_000 // functions**2 + 4)
        self.time_samples(items, functions)

    def time_samples(self, items, functions):
        return ours(self.problem)

    def peakmem_samples(self, items, functions):
        self.time_samples(items, functions)

    def track_share_error(self, items, functions):
        return error(self.problem, self.time_samples(items, functions))["share error / ideal"]


class Points:
    """Samples of points: spectra of tridiagonal matrices, and proposals in one and two dimensions."""

    params = (("legendre", "fourier", "tensor"), (10, 55))
    param_names = ("basis", "functions")

    def setup(self, basis, functions):
        degree = {10: 3, 55: 9}[functions]
        made = {
            "legendre": lambda: Legendre(functions),
            "fourier": lambda: Fourier(functions),
            "tensor": lambda: TensorBasis(Legendre(degree + 1), total_degree(2, degree)),
        }
        self.basis = made[basis]()
        self.time_samples(basis, functions)

    def time_samples(self, basis, functions):
        sample_dpp(self.basis, repeats=20, rng=0)


class Ensembles:
    """L-ensembles and samples of fixed size, from a kernel and from a factor."""

    params = (("L", "factor"), (None, 10))
    param_names = ("given", "size")

    def setup(self, given, size):
        B = np.random.default_rng(0).standard_normal((600, 30))
        self.given = {given: B @ B.T if given == "L" else B}
        self.time_samples(given, size)

    def time_samples(self, given, size):
        sample_l_ensemble(**self.given, size=size, repeats=100, rng=0)


class Fits:
    """`weighted_lstsq` by every design, values of the function included."""

    params = (("repeated_dpp", "christoffel", "volume", "greedy"), (5, 31))
    param_names = ("design", "functions")

    def setup(self, design, functions):
        self.basis = Legendre(functions)
        self.time_fit(design, functions)

    def time_fit(self, design, functions):
        return weighted_lstsq(lambda x: 1 / (1 + 5 * x**2), self.basis, 3 * functions, design=design, rng=0)

    def track_condition(self, design, functions):
        G = self.time_fit(design, functions).design
        return G.lambda_max / G.lambda_min

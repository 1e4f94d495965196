"""asv benchmarks of functions in Chebyshev-Tucker format: values at points, and their calculus."""

import numpy as np

from benchmarks.compare.evaluation import decaying


class Points:
    """Values against variables, degree and rank."""

    params = ((1, 3, 6), (16, 128), (2, 5), ("float32", "float64"))
    param_names = ("variables", "degree", "rank", "dtype")

    def setup(self, dim, degree, rank, dtype):
        self.f = decaying(dim, degree + 1, rank, np.dtype(dtype))
        self.X = np.random.default_rng(1).uniform(-1, 1, (dim, 100_000)).astype(dtype)
        self.time_values(dim, degree, rank, dtype)

    def time_values(self, dim, degree, rank, dtype):
        return self.f(*self.X)

    def time_one_value(self, dim, degree, rank, dtype):
        return self.f(*self.X[:, 0])

    def peakmem_values(self, dim, degree, rank, dtype):
        self.time_values(dim, degree, rank, dtype)


class Calculus:
    """Operations on functions of three variables, against degree and rank."""

    params = ((16, 128), (3, 20))
    param_names = ("degree", "rank")

    def setup(self, degree, rank):
        self.f, self.g = (decaying(3, degree + 1, r) for r in (rank, rank - 1))
        self.x = np.linspace(-1, 1, 100)

    def time_grid(self, degree, rank):
        return self.f.grid(self.x, self.x, self.x)

    def time_derivative(self, degree, rank):
        return self.f.derivative(1)

    def time_laplacian(self, degree, rank):
        return self.f.laplacian()

    def time_integral(self, degree, rank):
        return self.f.integral()

    def time_inner(self, degree, rank):
        return self.f.inner(self.g)

    def time_sum(self, degree, rank):
        return self.f + self.g

    def time_product(self, degree, rank):
        return self.f.product(self.g, tol=1e-6)

    def time_round(self, degree, rank):
        return self.f.round(1e-3)

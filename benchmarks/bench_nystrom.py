"""asv benchmarks of `nystrom` and of the tiles below it: time, memory and accuracy, against size, rank, method, kernel and dtype."""

import numpy as np

from benchmarks.compare.nystrom import clusters, error, smile
from lowrank_la import kernels
from lowrank_la.kernel_methods import nystrom

NUMBERS = {"polynomial": (3.0, 0.5, 1.0), "cosine": ()}


class Landmarks:
    """`nystrom` against the rule and the dtype."""

    params = (("rpcholesky", "greedy", "uniform", "rls", "bless", "kmeans"), ((500, 20), (50_000, 500)), ("float64", "float32"))
    param_names = ("method", "size", "dtype")
    timeout = 300

    def setup(self, method, size, dtype):
        self.problem = clusters(*size)
        self.X = self.problem.X.astype(dtype)
        self.time_nystrom(method, size, dtype)

    def time_nystrom(self, method, size, dtype):
        return nystrom(self.X, kernel=self.problem.kernel, rank=self.problem.rank, method=method, rng=0)

    def peakmem_nystrom(self, method, size, dtype):
        self.time_nystrom(method, size, dtype)

    def track_trace_error(self, method, size, dtype):
        return error(self.problem, self.time_nystrom(method, size, dtype).F)["trace error"]


class Smile:
    """`nystrom` against the rank, where evaluation is cheap."""

    params = ((10, 200, 1000),)
    param_names = ("rank",)

    def setup(self, rank):
        self.problem = smile(100 * rank, rank, 0.2)
        self.time_nystrom(rank)

    def time_nystrom(self, rank):
        nystrom(self.problem.X, kernel=self.problem.kernel, rank=rank, rng=0)


class Tiles:
    """Kernel values, and products with them, against the kernel and the dtype."""

    params = (("rbf", "matern12", "matern32", "matern52", "laplace", "polynomial", "cosine"), (500, 20_000), ("float64", "float32"))
    param_names = ("family", "points", "dtype")

    def setup(self, family, points, dtype):
        rng = np.random.default_rng(0)
        self.X, self.V = rng.standard_normal((points, 20)).astype(dtype), rng.standard_normal((points, 1)).astype(dtype)
        self.rest = family, NUMBERS.get(family, (5.0,))
        self.time_entries(family, points, dtype)
        self.time_product(family, points, dtype)

    def time_entries(self, family, points, dtype):
        kernels.kernel_entries.apply(self.X, self.X[:256], *self.rest)

    def time_product(self, family, points, dtype):
        kernels.kernel_product.apply(self.X, self.X, self.V, *self.rest)

    def peakmem_product(self, family, points, dtype):
        self.time_product(family, points, dtype)

"""asv benchmarks of the factorizations: time, memory and accuracy, against shape, decay and method."""

import numpy as np

from benchmarks._compared import Compared as _Compared
from benchmarks.compare import spectra, weights
from benchmarks.compare.factor import sparse, with_spectrum
from lowrank_la.factor import column_subset, cur, interpolative, rpcholesky, svd

COMPARED = {task.name: task for task in spectra.TASKS + weights.TASKS}
DECAYS = {"slow": lambda i: i**-0.5, "fast": lambda i: 0.9**i}


class Dense:
    """`svd` against shape and decay."""

    params = (((300, 60), (4000, 500), (20_000, 2000), (4096, 4096)), ("slow", "fast"))
    param_names = ("shape", "decay")
    timeout = 300

    def setup(self, shape, decay):
        n, d = shape
        self.problem = with_spectrum(n, d, DECAYS[decay](np.arange(1.0, d + 1)), min(50, d // 10))
        self.time_svd(shape, decay)

    def time_svd(self, shape, decay):
        return svd(self.problem.A, self.problem.rank, rng=0)

    def time_excess_certificate(self, shape, decay):
        return svd(self.problem.A, self.problem.rank, certificate="excess", rng=0)

    def peakmem_svd(self, shape, decay):
        self.time_svd(shape, decay)

    def track_error_over_least(self, shape, decay):
        return self.time_svd(shape, decay).error / self.problem.least


class Sparse:
    """`svd` against the number of entries."""

    params = ((3000, 1_000_000, 10_000_000), (1.0, 3.0))
    param_names = ("entries", "power")
    timeout = 300

    def setup(self, entries, power):
        self.problem = sparse(entries // 10, entries // 100, entries, min(20, entries // 1000), power)
        self.time_svd(entries, power)

    def time_svd(self, entries, power):
        return svd(self.problem.A, self.problem.rank, rng=0)

    def peakmem_svd(self, entries, power):
        self.time_svd(entries, power)


class Columns:
    """Every rule of choice, for the factorizations that are made of columns and rows."""

    params = (("qr", "strong", "rpcholesky", "leverage", "deim"), ((200, 90), (4096, 2048)))
    param_names = ("method", "shape")

    def setup(self, method, shape):
        n, d = shape
        self.problem = with_spectrum(n, d, np.arange(1.0, d + 1) ** -1, d // 32 + 4)
        self.options = {"method": method, "rng": 0}

    def time_interpolative(self, method, shape):
        interpolative(self.problem.A, self.problem.rank, **self.options)

    def time_cur(self, method, shape):
        cur(self.problem.A, self.problem.rank, **self.options)

    def peakmem_interpolative(self, method, shape):
        self.time_interpolative(method, shape)

    def track_error_over_least(self, method, shape):
        return column_subset(self.problem.A, self.problem.rank, **self.options).error / self.problem.least


class Kernel:
    """`rpcholesky` of a Gaussian kernel that is never formed."""

    params = ((500, 20_000), (20, 500))
    param_names = ("points", "rank")

    def setup(self, points, rank):
        self.X = np.random.default_rng(0).standard_normal((points, 5))
        self.squares = np.sum(self.X**2, axis=1)

    def kernel(self, rows, columns):
        return np.exp((self.X[rows] @ self.X[columns].T) / 5 - (self.squares[rows][:, None] + self.squares[columns]) / 10)

    def time_rpcholesky(self, points, rank):
        return rpcholesky(self.kernel, rank, diagonal=np.ones(points), rng=0)

    def peakmem_rpcholesky(self, points, rank):
        self.time_rpcholesky(points, rank)

    def track_trace_left(self, points, rank):
        return self.time_rpcholesky(points, rank).relative_error


class Compared(_Compared):
    """Our side of the comparisons of what works from products, and of dense matrices with weights."""

    tasks = COMPARED
    params = (("small", "full"), tuple(COMPARED))

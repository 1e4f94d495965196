"""asv benchmarks of sliced Wasserstein distances: time, memory, and variance against plain Monte Carlo."""

import numpy as np

from benchmarks.compare.sliced import _problem, cases, ours
from lowrank_la.sliced import max_sliced, sliced_wasserstein, vmf_sliced, wasserstein_1d


class Sliced:
    """`sliced_wasserstein` against shape, dtype and estimator."""

    params = (((500, 3), (100_000, 3), (10_000, 64)), ("float64", "float32"), ("auto", "none", "qmc"))
    param_names = ("shape", "dtype", "variance_reduction")
    timeout = 300

    def setup(self, shape, dtype, mode):
        self.problem = _problem("full", *shape, 32 if shape[0] < 1000 else 1000, dtype)
        self.time_value(shape, dtype, mode)

    def time_value(self, shape, dtype, mode):
        return ours(self.problem, variance_reduction=mode)

    def peakmem_value(self, shape, dtype, mode):
        self.time_value(shape, dtype, mode)

    def track_certificate(self, shape, dtype, mode):
        return self.time_value(shape, dtype, mode).certificate.bound


class Gain:
    """Root mean square error at 100 projections over 20 draws."""

    params = (list(cases()), ("auto", "none", "orthogonal"))
    param_names = ("case", "variance_reduction")

    def setup(self, case, mode):
        self.X, self.Y = cases()[case]
        self.truth = sliced_wasserstein(self.X, self.Y, n_projections=2000, rng=10**6).value_p

    def track_error(self, case, mode):
        found = [sliced_wasserstein(self.X, self.Y, n_projections=100, variance_reduction=mode, rng=seed).value_p for seed in range(20)]
        return float(np.sqrt(np.mean((np.array(found) - self.truth) ** 2)))


class Extremes:
    """The largest distance, a concentrated law, and numbers on a line."""

    params = ((500, 20_000),)
    param_names = ("n",)

    def setup(self, n):
        rng = np.random.default_rng(0)
        self.X, self.Y = rng.standard_normal((n, 3)), rng.standard_normal((n, 3)) * [2, 1, 0.5]
        self.time_max(n)
        self.time_vmf(n)
        self.time_line(n)

    def time_max(self, n):
        max_sliced(self.X, self.Y, tol=1e-6, rng=0)

    def time_vmf(self, n):
        vmf_sliced(self.X, self.Y, rng=0)

    def time_line(self, n):
        wasserstein_1d(self.X[:, 0], self.Y[:, 0])

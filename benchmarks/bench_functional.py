"""asv benchmarks of functional Tucker models: the smoother, and fits by variational Bayes and by least squares."""

import numpy as np

from lowrank_la.functional_tucker import FunctionalTucker, functional_tucker_ls
from lowrank_la.functional_tucker._state_space import Prior, interpolate, log_evidence, smooth

TRUTH_NOISE = 0.1


class Smoother:
    """Filter, smoother and insertion against kernel, points and rank."""

    params = (("matern12", "matern32", "matern52", "rbf-approx"), (100, 2000), (1, 5))
    param_names = ("kernel", "points", "rank")

    def setup(self, kernel, points, rank):
        rng = np.random.default_rng(0)
        self.prior, self.t = Prior(kernel, 0.1), np.sort(rng.random(points))
        L = rng.standard_normal((points, rank, rank))
        self.precision, self.shift = 10.0 * L @ L.swapaxes(1, 2), rng.standard_normal((points, rank))
        self.t_new = rng.random(1000)
        self.smoothed = smooth(self.prior, self.t, self.precision, self.shift)
        self.time_interpolate(kernel, points, rank)

    def time_smooth(self, kernel, points, rank):
        smooth(self.prior, self.t, self.precision, self.shift)

    def time_log_evidence(self, kernel, points, rank):
        log_evidence(self.prior, self.t, self.precision, self.shift)

    def time_interpolate(self, kernel, points, rank):
        interpolate(self.prior, self.t, self.smoothed, self.t_new)

    def peakmem_smooth(self, kernel, points, rank):
        self.time_smooth(kernel, points, rank)


class Fit:
    """Three variables: time, memory and the error against the truth, for both methods."""

    params = (("bayes", "least squares"), (1000, 30_000), (2, 4))
    param_names = ("method", "data", "rank")
    timeout = 300

    def setup(self, method, data, rank):
        rng = np.random.default_rng(0)
        self.x = rng.integers(0, 101, (data, 3)) / 100.0
        self.truth = np.sin(6 * self.x[:, 0]) * self.x[:, 1] + np.cos(5 * self.x[:, 2]) * np.exp(-self.x[:, 0])
        self.y = self.truth + TRUTH_NOISE * rng.standard_normal(data)
        self.time_fit(method, data, rank)

    def time_fit(self, method, data, rank):
        if method == "bayes":
            return FunctionalTucker(rank, max_iter=20, tol=1e-3, rng=0).fit(self.x, self.y)
        return functional_tucker_ls(self.x, self.y, ranks=rank, tol=1e-2, rng=0)

    def peakmem_fit(self, method, data, rank):
        self.time_fit(method, data, rank)

    def track_error(self, method, data, rank):
        return float(np.sqrt(np.mean((self.time_fit(method, data, rank).predict(self.x) - self.truth) ** 2)))

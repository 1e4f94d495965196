"""asv benchmarks of l_p regression and of samples of rows: time, memory and accuracy, against shape and power."""

import numpy as np

from benchmarks.compare.lp import make, ours
from lowrank_la.sampling import lp_sensitivities, sample_rows


class Regression:
    """`lp_regression` against shape and power."""

    params = (((600, 5), (20_000, 20), (200_000, 30)), (1, 1.5, 3, np.inf))
    param_names = ("shape", "p")
    timeout = 300

    def setup(self, shape, p):
        self.problem = make("full", *shape, p)
        self.time_regression(shape, p)

    def time_regression(self, shape, p):
        return ours(self.problem)

    def peakmem_regression(self, shape, p):
        self.time_regression(shape, p)

    def track_gap(self, shape, p):
        return self.time_regression(shape, p).gap


class Sampling:
    """`sample_rows` against the scheme."""

    params = ((2000, 1_000_000), ("leverage", "lewis"), (1, 2))
    param_names = ("rows", "scores", "p")
    timeout = 300

    def setup(self, rows, scores, p):
        self.A = np.random.default_rng(0).standard_normal((rows, 20))
        self.time_sample(rows, scores, p)

    def time_sample(self, rows, scores, p):
        return sample_rows(self.A, p, scores=scores, rng=0)

    def peakmem_sample(self, rows, scores, p):
        self.time_sample(rows, scores, p)

    def track_distortion(self, rows, scores, p):
        return self.time_sample(rows, scores, p).distortion


class Sensitivities:
    """`lp_sensitivities` of every row."""

    params = (("bounds", "approx", "exact"), (1.5, 3))
    param_names = ("method", "p")

    def setup(self, method, p):
        self.A = np.random.default_rng(0).standard_normal((400, 6))
        self.time_all_rows(method, p)

    def time_all_rows(self, method, p):
        return lp_sensitivities(self.A, p, method=method, rng=0)

    def track_width(self, method, p):
        return self.time_all_rows(method, p).certificate.bound

"""asv benchmarks of sparse Bayesian learning: time and accuracy, against the method and the number of factors."""

import warnings

from benchmarks.compare.sbl import decibels, draw
from lowrank_la import ConvergenceWarning
from lowrank_la.sbl import kronecker_omp, kronecker_sbl, sbl


class Kronecker:
    """`kronecker_sbl` on the published simulation, against the method."""

    params = (("auto", "am", "svd", "svd+am", "svd+mm"),)
    param_names = ("method",)

    def setup(self, method):
        self.problem = draw((8, 12, 15), (15, 15, 15), 3)
        self.time_solve(method)

    def time_solve(self, method):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return kronecker_sbl(self.problem.Y, self.problem.A, method=method, noise_var=self.problem.noise)

    def track_error(self, method):
        return decibels(self.problem, self.time_solve(method).x)


class Baselines:
    """What it is compared with."""

    def setup(self):
        self.problem, self.plain = draw((8, 12, 15), (15, 15, 15), 3), draw((50,), (100,), 5)

    def time_kronecker_omp(self):
        return kronecker_omp(self.problem.Y, self.problem.A, n_atoms=10)

    def time_sbl(self):
        return sbl(self.plain.Y, self.plain.A[0])

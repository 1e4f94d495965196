"""asv benchmarks of sparse Bayesian learning and matching pursuit: time and accuracy, against the method."""

import warnings

from benchmarks.compare.sbl import decibels, draw
from lowrank_la import ConvergenceWarning
from lowrank_la.sbl import kronecker_omp, kronecker_sbl, omp, sbl


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


class Single:
    """`sbl` on one factor, against the method."""

    params = (("auto", "fast", "em", "pattern"),)
    param_names = ("method",)

    def setup(self, method):
        self.problem = draw((100,), (300,), 10)
        self.time_solve(method)

    def time_solve(self, method):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return sbl(self.problem.Y, self.problem.A[0], method=method)

    def track_error(self, method):
        return decibels(self.problem, self.time_solve(method).x)


class Pursuit:
    """Matching pursuit with a Kronecker support, and with any support in a dictionary that is a product."""

    def setup(self):
        self.problem = draw((8, 12, 15), (15, 15, 15), 3)

    def time_kronecker_omp(self):
        return kronecker_omp(self.problem.Y, self.problem.A, n_atoms=10)

    def time_omp_with_factors(self):
        return omp(self.problem.Y.ravel(), self.problem.A, n_nonzero=27)

    def time_omp_with_their_product(self):
        return omp(self.problem.Y.ravel(), self.problem.K, n_nonzero=27)

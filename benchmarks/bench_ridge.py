"""asv benchmarks of kernel ridge regression: time, memory and accuracy against solver and size."""

from benchmarks.compare.ridge import BANDWIDTH, RIDGE, points
from lowrank_la.kernel_methods import RBF, kernel_ridge, kernel_ridge_path

LARGEST = {"direct": 10_000, "pcg": 100_000, "nystrom": 100_000}


class Fit:
    """`kernel_ridge`, against points and solver."""

    params = ((300, 5000, 50_000), ("direct", "pcg", "nystrom"), ("float64", "float32"))
    param_names = ("points", "solver", "dtype")
    timeout = 300

    def setup(self, n, solver, dtype):
        if n > LARGEST[solver]:
            raise NotImplementedError
        self.X, self.y, self.new = (x.astype(dtype) for x in points(n))
        self.result = self.time_fit(n, solver, dtype)

    def time_fit(self, n, solver, dtype):
        return kernel_ridge(self.X, self.y, kernel=RBF(BANDWIDTH), ridge=RIDGE, solver=solver, rng=0)

    def time_predict(self, n, solver, dtype):
        self.result.predict(self.new)

    def time_predict_with_bound(self, n, solver, dtype):
        self.result.predict(self.new, return_bound=True)

    def peakmem_fit(self, n, solver, dtype):
        self.time_fit(n, solver, dtype)

    def track_error_bound(self, n, solver, dtype):
        return self.result.error_bound

    def track_iterations(self, n, solver, dtype):
        return self.result.n_iter


class Path:
    """`kernel_ridge_path` and leave-one-out residuals."""

    params = (300, 2000, 10_000)
    param_names = ("points",)
    timeout = 300

    def setup(self, n):
        self.X, self.y, _ = points(n)
        self.result = kernel_ridge(self.X, self.y, kernel=RBF(BANDWIDTH), ridge=RIDGE, solver="direct" if n <= 2000 else "nystrom", rng=0)

    def time_path(self, n):
        kernel_ridge_path(self.X, self.y, kernel=RBF(BANDWIDTH), rng=0)

    def time_leave_one_out(self, n):
        self.result.leave_one_out()

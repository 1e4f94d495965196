"""asv benchmarks of `sketch_lstsq`: time, memory, accuracy, and scaling with rows and columns."""

from benchmarks.compare.regression import make
from lowrank_la import sketch_lstsq


class Size:
    """Time and memory against the number of rows and columns."""

    params = (((4000, 20), (1 << 16, 100), (1 << 18, 100), (1 << 20, 100), (50_000, 500), (200_000, 500)),)
    param_names = ("shape",)
    timeout = 300

    def setup(self, shape):
        self.problem = make(*shape, cond=1e8)
        self.time_solve(shape)

    def time_solve(self, shape):
        sketch_lstsq(self.problem.A, self.problem.b, rng=0)

    def time_sketch_and_solve(self, shape):
        sketch_lstsq(self.problem.A, self.problem.b, method="solve", rng=0)

    def peakmem_solve(self, shape):
        sketch_lstsq(self.problem.A, self.problem.b, rng=0)


class Method:
    """Every method on one problem, for several conditions."""

    params = (("direct", "cholqr", "spir", "fossils", "ihs", "solve"), (1e2, 1e8, 1e12))
    param_names = ("method", "condition")
    shape = (20_000, 50)

    def setup(self, method, cond):
        self.problem = make(*self.shape, cond=cond)
        self.time_method(method, cond)

    def time_method(self, method, cond):
        sketch_lstsq(self.problem.A, self.problem.b, method=method, rng=0)

    def track_backward_error(self, method, cond):
        return sketch_lstsq(self.problem.A, self.problem.b, method=method, rng=0).backward_error

    def track_bound_over_error(self, method, cond):
        result = sketch_lstsq(self.problem.A, self.problem.b, method=method, rng=0)
        error = abs(result.x - self.problem.solution).max()
        return min(float(result.certificate.bound / max(error, 1e-16 * abs(result.x).max())), 1e300)

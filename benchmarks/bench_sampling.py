"""asv benchmarks of scores of rows: time, memory and accuracy, against shape, condition and exponent."""

from benchmarks.compare.sampling import leverage_error, tall
from lowrank_la.sampling import leverage_scores, lewis_weights, ridge_leverage_scores


class Leverage:
    """`leverage_scores` against shape, condition and method."""

    params = (((4000, 10), (1_000_000, 50), (100_000, 300)), (1e2, 1e6, 1e8), ("exact", "sketch"))
    param_names = ("shape", "condition", "method")
    timeout = 300

    def setup(self, shape, condition, method):
        self.problem = tall(*shape, cond=condition)
        self.time_leverage(shape, condition, method)

    def time_leverage(self, shape, condition, method):
        return leverage_scores(self.problem.A, method=method, rng=0)

    def peakmem_leverage(self, shape, condition, method):
        self.time_leverage(shape, condition, method)

    def track_relative_error(self, shape, condition, method):
        return leverage_error(self.problem, self.time_leverage(shape, condition, method).scores)["relative error"]


class Ridge:
    """`ridge_leverage_scores` against shape."""

    params = (((4000, 10), (1_000_000, 50)),)
    param_names = ("shape",)

    def setup(self, shape):
        self.A = tall(*shape).A
        self.time_ridge(shape)

    def time_ridge(self, shape):
        ridge_leverage_scores(self.A, 1.0, rng=0)


class Lewis:
    """`lewis_weights` against shape and exponent."""

    params = (((2000, 8), (200_000, 30)), (1.0, 1.5, 3.0, 6.0))
    param_names = ("shape", "p")

    def setup(self, shape, p):
        self.A = tall(*shape).A
        self.time_lewis(shape, p)

    def time_lewis(self, shape, p):
        return lewis_weights(self.A, p, rng=0)

    def peakmem_lewis(self, shape, p):
        self.time_lewis(shape, p)

    def track_rounds(self, shape, p):
        return self.time_lewis(shape, p).n_iter

    def track_certificate(self, shape, p):
        return self.time_lewis(shape, p).certificate.bound

"""asv benchmarks of the inverse Fisher products: time, memory and accuracy, against length, gradients and dtype."""

from benchmarks.compare.curvature import DAMP, gradients
from lowrank_la.curvature import MFAC, SlidingMFAC


class Fixed:
    """`MFAC`: set-up, products and the diagonal."""

    params = (((16, 1000), (128, 100_000), (256, 1_000_000)), ("float32", "float64"))
    param_names = ("shape", "dtype")
    timeout = 300

    def setup(self, shape, dtype):
        self.G = gradients(*shape).astype(dtype)
        self.fisher = MFAC(self.G, damp=DAMP)

    def time_setup(self, shape, dtype):
        MFAC(self.G, damp=DAMP)

    def time_solve(self, shape, dtype):
        self.fisher.solve(self.G[0])

    def time_diagonal(self, shape, dtype):
        self.fisher.diagonal()

    def peakmem_solve(self, shape, dtype):
        self.fisher.solve(self.G[0])

    def track_error_bound(self, shape, dtype):
        return self.fisher.solve(self.G[0]).error_bound


class Window:
    """`SlidingMFAC`: a push and the solve after it."""

    params = (((16, 1000), (128, 100_000), (512, 1_000_000)), (None, "bfloat16"))
    param_names = ("shape", "storage")
    timeout = 300

    def setup(self, shape, storage):
        self.G = gradients(*shape)
        self.fisher = SlidingMFAC(shape[1], shape[0], damp=DAMP, storage=storage)
        self.fisher.push(self.G)

    def time_push(self, shape, storage):
        self.fisher.push(self.G[0])

    def time_push_and_solve(self, shape, storage):
        self.fisher.push_solve(self.G[0])


class Blocks:
    """`MFAC` of a block-diagonal matrix."""

    params = ((64, 512),)
    param_names = ("block",)
    timeout = 300

    def setup(self, block):
        self.G = gradients(128, 50_000)
        self.fisher = MFAC(self.G, damp=DAMP, block=block)

    def time_setup(self, block):
        MFAC(self.G, damp=DAMP, block=block)

    def time_solve(self, block):
        self.fisher.solve(self.G[0])

    def time_diagonal(self, block):
        self.fisher.diagonal()

"""asv benchmarks of streams: time, memory and accuracy of the leading eigenvector, against shape, gap and method."""

from benchmarks._compared import Compared as _Compared
from benchmarks.compare.streaming import TASKS, error, ours, spiked

COMPARED = {task.name: task for task in TASKS}


class Top:
    """`TopEigenvector` against shape and method."""

    params = (((4000, 20), (100_000, 200), (40_000, 2000)), ("blocks", "gram", "oja", "directions"))
    param_names = ("shape", "method")
    timeout = 300

    def setup(self, shape, method):
        self.stream = spiked(*shape)
        self.time_top(shape, method)

    def time_top(self, shape, method):
        return ours(self.stream, method=method)

    def peakmem_top(self, shape, method):
        self.time_top(shape, method)

    def track_error(self, shape, method):
        return error(self.stream, self.time_top(shape, method))["1 - (v . v1)^2"]


class Gap:
    """The constant in front of the paper's rate: error times the root of R = lambda_1 / lambda_2; see also `streaming_tables`."""

    params = (1.5, 2.0, 4.0, 16.0, 64.0)
    param_names = ("ratio",)

    def setup(self, ratio):
        self.stream = spiked(20_000, 200, ratio)

    def track_error_times_root_of_ratio(self, ratio):
        return error(self.stream, ours(self.stream))["1 - (v . v1)^2"] * ratio**0.5


class Several:
    """Several vectors, in one pass."""

    params = (1, 4, 16)
    param_names = ("n_vectors",)

    def setup(self, n_vectors):
        self.stream = spiked(20_000, 200)
        self.time_several(n_vectors)

    def time_several(self, n_vectors):
        ours(self.stream, n_vectors=n_vectors)


class Compared(_Compared):
    """Our side of the comparisons."""

    tasks = COMPARED
    params = (("small", "full"), tuple(COMPARED))

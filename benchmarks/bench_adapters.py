"""asv benchmarks of the layers for machine learning: time and memory of an optimizer step, its state, and pruning."""

from benchmarks.compare import adapters, curvature


class Step:
    """The optimizer `MFAC` against window and length."""

    params = (((16, 1000), (128, 100_000), (512, 200_000)),)
    param_names = ("shape",)
    timeout = 300

    def setup(self, shape):
        self.problem = curvature._setup("full", *shape, windows={"ours": adapters.OptimizerWindow})

    def time_step(self, shape):
        curvature.our_step("ours", self.problem)

    def time_state_dict(self, shape):
        self.problem.windows["ours"].optimizer.state_dict()

    def peakmem_step(self, shape):
        curvature.our_step("ours", self.problem)

    def track_relative_error(self, shape):
        return curvature.error(self.problem, curvature.our_step("ours", self.problem))["relative error"]


class Prune:
    """`obs_prune` against size and rounds."""

    params = (((16, 1000), (256, 200_000)), (1, 16))
    param_names = ("shape", "rounds")
    timeout = 300

    def setup(self, shape, rounds):
        self.problem = adapters.pruning("full", *shape)

    def time_prune(self, shape, rounds):
        adapters.surgeon(self.problem, rounds)

    def peakmem_prune(self, shape, rounds):
        adapters.surgeon(self.problem, rounds)

    def track_loss_increase(self, shape, rounds):
        return adapters.pruning_error(self.problem, adapters.surgeon(self.problem, rounds))["loss increase"]

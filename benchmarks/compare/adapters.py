"""The optimizer `MFAC` and `obs_prune`: beside what is published, in plain PyTorch and NumPy, and at work on the digits.

The digits tasks train a network of 64, 32 and 10 units. Our optimizer has its defaults; the others have the best of several step
lengths: 0.1, 0.2, 0.5, 1, 1.5 for SGD, 0.05, 0.1, 0.2, 0.3, 0.5 with momentum, and 0.003, 0.01, 0.02, 0.03, 0.05 for Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import Task, curvature
from benchmarks.compare.curvature import gradients
from lowrank_la.adapters.compress import obs_prune
from lowrank_la.curvature import MFAC

PRUNING_DAMP, SPARSITY = 1e-5, 0.9


class OptimizerWindow:
    """The optimizer with a full window, in which the oldest gradient becomes the newest: its gradients stay the same."""

    def __init__(self, G: np.ndarray, damp: float, storage: str | None = None) -> None:
        import torch

        from lowrank_la.adapters import optim

        self.parameter, self.index = torch.nn.Parameter(torch.zeros(G.shape[1])), -1
        self.optimizer = optim.MFAC([self.parameter], lr=1.0, momentum=0.0, window=len(G), damp=damp, kl_clip=None, storage=storage)
        for _ in G:
            self.push_solve(G)

    def push_solve(self, G: np.ndarray) -> curvature.Step:
        import torch

        self.index = (self.index + 1) % len(G)
        self.parameter.grad = torch.from_numpy(G[self.index])
        self.optimizer.step()
        return curvature.Step(self.optimizer.state["group 0"]["displacement"].numpy(), self.index)


WINDOWS = {"ours": OptimizerWindow, "bfloat16": partial(OptimizerWindow, storage="bfloat16"), "published": curvature.PublishedWindow}
STEPS: dict[str, Callable[[curvature.Problem], curvature.Step]] = {
    "lowrank_la": partial(curvature.our_step, "ours"),
    'lowrank_la, storage="bfloat16"': partial(curvature.our_step, "bfloat16"),
    "torch, published window": partial(curvature.step, "published"),
}


@dataclass(frozen=True)
class Pruning:
    """Weights and their gradients."""

    w: np.ndarray
    G: np.ndarray


def pruning(size: str, m: int, d: int) -> Pruning:
    G = np.float32(0.01) * (gradients(m, d) if size == "full" else gradients(8, 100))
    return Pruning(np.random.default_rng(1).standard_normal(G.shape[1], dtype=np.float32), G)


def surgeon(problem: Pruning, rounds: int = 16) -> np.ndarray:
    return obs_prune(problem.w, problem.G, sparsity=SPARSITY, damp=PRUNING_DAMP, rounds=rounds).weights


def summed(problem: Pruning) -> np.ndarray:
    """Remove the weights with the lowest scores at once, and add up what each would have the others do if it went alone."""
    w, fisher = problem.w, MFAC(problem.G, damp=PRUNING_DAMP)
    gone = np.argsort(fisher.pruning_scores(w))[: round(SPARSITY * len(w))]
    c = np.zeros_like(w)
    c[gone] = w[gone] / fisher.diagonal()[gone]
    new = w - fisher.solve(c).x
    new[gone] = 0
    return new


def magnitude(problem: Pruning) -> np.ndarray:
    new = problem.w.copy()
    new[np.argsort(np.abs(new))[: round(SPARSITY * len(new))]] = 0
    return new


def pruning_error(problem: Pruning, w: np.ndarray) -> Mapping[str, float]:
    """Evaluate the quadratic model of the loss."""
    dw = w.astype(float) - problem.w
    image = np.concatenate([rows.astype(float) @ dw for rows in np.array_split(problem.G, 16)])
    return {"loss increase": float((PRUNING_DAMP * dw @ dw + image @ image / len(image)) / 2), "zeros": float(np.mean(w == 0))}


PRUNERS: dict[str, Callable[[Pruning], np.ndarray]] = {
    "lowrank_la": surgeon,
    "lowrank_la, one round": partial(surgeon, rounds=1),
    "updates of single weights added up": summed,
    "magnitude": magnitude,
}


@dataclass(frozen=True)
class Digits:
    """Images for training and for the test, how many steps, from how many starts, how many gradients to prune by, and in what rounds."""

    X: Any
    y: Any
    test: tuple[Any, Any]
    steps: int = 200
    seeds: range = range(5)
    samples: int = 512
    rounds: int = 16
    trained: Any = None


def digits(size: str) -> Digits:
    import torch
    from sklearn.datasets import load_digits

    X, y = (torch.from_numpy(a) for a in load_digits(return_X_y=True))
    order, X = torch.randperm(len(X), generator=torch.Generator().manual_seed(0)), X.float() / 16
    train, test = order[:1400], order[1400:]
    problem = Digits(X[train], y[train], (X[test], y[test]))
    if size == "small":
        problem = replace(problem, steps=5, seeds=range(1), samples=16, rounds=1)
    return replace(problem, trained=learn(by_adam, problem, 0))


def network(seed: int) -> Any:
    import torch

    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))


def learn(optimizer_of: Callable[[Any], Any], problem: Digits, seed: int) -> Any:
    """Train on batches of 64, and return the network."""
    import torch

    model = network(seed)
    optimizer, generator = optimizer_of(model.parameters()), torch.Generator().manual_seed(seed)
    for _ in range(problem.steps):
        rows = torch.randint(len(problem.X), (64,), generator=generator)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(problem.X[rows]), problem.y[rows]).backward()
        optimizer.step()
    return model


def by_mfac(parameters: Any) -> Any:
    from lowrank_la.adapters import optim

    return optim.MFAC(parameters)


def by_sgd(parameters: Any, lr: float, momentum: float) -> Any:
    import torch

    return torch.optim.SGD(parameters, lr=lr, momentum=momentum)


def by_adam(parameters: Any, lr: float = 0.03) -> Any:
    import torch

    return torch.optim.Adam(parameters, lr=lr)


LEARNERS = {
    "lowrank_la, defaults": by_mfac,
    "torch SGD": partial(by_sgd, lr=1.0, momentum=0.0),
    "torch SGD, momentum 0.9": partial(by_sgd, lr=0.2, momentum=0.9),
    "torch Adam": by_adam,
}


def learn_all(optimizer_of: Callable[[Any], Any], problem: Digits) -> list[Any]:
    return [learn(optimizer_of, problem, seed) for seed in problem.seeds]


def loss_and_accuracy(model: Any, problem: Digits) -> tuple[float, float]:
    """Return the loss on the training set, and the share of right answers on the test set."""
    import torch

    X, y = problem.test
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(problem.X), problem.y).item()
        return loss, (model(X).argmax(1) == y).double().mean().item()


def learning_error(problem: Digits, models: list[Any]) -> Mapping[str, float]:
    losses, accuracies = zip(*(loss_and_accuracy(model, problem) for model in models), strict=True)
    return {"training loss": float(np.median(losses)), "largest": max(losses), "test accuracy": float(np.median(accuracies))}


def gradients_of(problem: Digits) -> tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]:
    """Return the weights of the trained network, the gradients of single images at given weights, and the network with them."""
    import torch
    from torch.func import functional_call, grad, vmap

    named = {name: p.detach() for name, p in problem.trained.named_parameters()}

    def shaped(w: Any) -> dict[str, Any]:
        parts = w.split([p.numel() for p in named.values()])
        return {name: part.reshape(p.shape) for part, (name, p) in zip(parts, named.items(), strict=True)}

    def loss(w: Any, x: Any, label: Any) -> Any:
        return torch.nn.functional.cross_entropy(functional_call(problem.trained, shaped(w), x[None]), label[None])

    def with_weights(w: Any) -> Callable[[Any], Any]:
        return partial(functional_call, problem.trained, shaped(w))

    by_sample = vmap(grad(loss), (None, 0, 0))
    weights = torch.cat([p.reshape(-1) for p in named.values()])
    return weights, lambda w: by_sample(w, problem.X[: problem.samples], problem.y[: problem.samples]), with_weights


def prune_digits(problem: Digits, *, fixed: bool = False) -> Any:
    w, grads, with_weights = gradients_of(problem)
    return with_weights(obs_prune(w, grads(w) if fixed else grads, sparsity=SPARSITY, damp=PRUNING_DAMP, rounds=problem.rounds).weights)


def prune_digits_plainly(problem: Digits, method: Callable[[Pruning], np.ndarray]) -> Any:
    import torch

    w, grads, with_weights = gradients_of(problem)
    return with_weights(torch.from_numpy(method(Pruning(w.numpy(), grads(w).numpy()))))


def pruned_error(problem: Digits, model: Any) -> Mapping[str, float]:
    return dict(zip(("training loss", "test accuracy"), loss_and_accuracy(model, problem), strict=True))


DIGITS_PRUNERS: dict[str, Callable[[Digits], Any]] = {
    "lowrank_la, gradients anew in each round": prune_digits,
    "lowrank_la, the same gradients": partial(prune_digits, fixed=True),
    "updates of single weights added up": partial(prune_digits_plainly, method=summed),
    "magnitude": partial(prune_digits_plainly, method=magnitude),
    "dense": lambda problem: problem.trained,
}

TASKS = [
    Task(
        "optimizer step, window of 512 gradients of length 200000, float32",
        partial(curvature._setup, m=512, d=200_000, windows=WINDOWS),
        STEPS,
        curvature.error,
    ),
    Task("remove 90 % of 200000 weights by 256 gradients, float32", partial(pruning, m=256, d=200_000), PRUNERS, pruning_error),
    Task(
        "digits network, 200 steps, 5 starts",
        digits,
        {name: partial(learn_all, optimizer_of) for name, optimizer_of in LEARNERS.items()},
        learning_error,
    ),
    Task("digits network, remove 90 % of 2410 weights by 512 gradients", digits, DIGITS_PRUNERS, pruned_error),
]

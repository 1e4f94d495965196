"""`MFAC`: a PyTorch optimizer that steps along natural gradients of a sliding window. Needs the extra `torch`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast, overload

from lowrank_la import _checks
from lowrank_la.curvature import SlidingMFAC

try:
    import torch
except ImportError as error:
    raise ImportError("lowrank_la.adapters.optim needs PyTorch: pip install 'lowrank_la[torch]'") from error

__all__ = ["MFAC"]

NAME = "MFAC"


class MFAC(torch.optim.Optimizer):
    """Precondition each gradient by the inverse of a damped empirical Fisher matrix of the last gradients.

    For the n gradients in the window of a group, the newest of which is g, and H = damp I + (1/n) sum_i g_i g_i^T, a step is

        v <- momentum v + (1 - momentum) s lr H^-1 g,    w <- (1 - lr weight_decay) w - v,

    where s <= 1 is the largest number for which (1/2) |s lr H^-1 g|_H^2 <= kl_clip.

    Parameters
    ----------
    params : iterable of Parameter, of (name, Parameter) or of dict
        What to optimize: real, on one device in each group. Every group has a window of its own, so that layers in
        groups of their own get a block-diagonal H.
    lr : float, lr >= 0
        Length of a step, in units of the natural gradient. With 0 the window fills while the parameters stay.
    momentum : float, 0 <= momentum < 1
        Share of the last step that remains in this one.
    weight_decay : float, weight_decay >= 0
        Decay of the parameters.
    decoupled_weight_decay : bool
        False: weight_decay times the parameters is added to g instead, and preconditioned like g. The window never sees it.
    window : int, window >= 1
        The most gradients that are kept.
    damp : float, damp > 0
        Damping, in units of squared gradients. A direction that the window does not know is stepped along by lr / damp times the gradient.
    kl_clip : float, kl_clip > 0, or None
        The most that a step may change the predictions: half its squared length in the norm of H, which is to second order the
        Kullback-Leibler divergence if H is the Fisher matrix. None: no limit.
    storage : None or "bfloat16"
        How the window keeps gradients: as they are, or rounded, in half the memory of float32; steps are then those of the rounded
        gradients. On the CPU only.

    Raises
    ------
    ValueError
        An argument is out of range, or a group has parameters on several devices.
    TypeError
        An argument is of a wrong type, or parameters are complex.

    See Also
    --------
    lowrank_la.SlidingMFAC : The window, for arrays of any library.

    Notes
    -----
    The optimizer of the paper [1]_ starts with a window of m zero gradients and divides by m from the first step on: its first step is
    g / (damp + |g|^2 / m), up to m times as long as g / (damp + |g|^2), which is what the gradients that there are tell. Here their
    number n is what divides, so that steps grow with what is known, and `kl_clip`, known from K-FAC [2]_, bounds them afterwards.
    The small algebra is in float64, which float32 gradients need when `damp` is small.

    Where only some parameters of a group have gradients, the others count as zero and stay as they are. A gradient that is not finite
    is refused before anything changes. Parameters in half precision have windows in float32.

    Cost of a step, for d parameters in a group: 6 d window flops in two passes over the window, a third one with weight decay that is
    not decoupled, and O(window^3). Memory: d window numbers; leave frozen parameters out. `state_dict` copies the windows, as
    tensors, and training resumes from it bit for bit.

    References
    ----------
    .. [1] Frantar, Kurtic and Alistarh, M-FAC: Efficient matrix-free approximations of second-order information, NeurIPS 2021. The window.
    .. [2] Ba, Grosse and Martens, Distributed second-order optimization using Kronecker-factored approximations, ICLR 2017. The limit.

    Examples
    --------
    >>> import torch
    >>> from lowrank_la.adapters.optim import MFAC
    >>> x = torch.randn(256, 5)
    >>> model = torch.nn.Linear(5, 1)
    >>> optimizer = MFAC(model.parameters(), lr=0.1, window=16)
    >>> def loss():
    ...     return ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
    >>> before = loss().item()
    >>> for _ in range(30):
    ...     optimizer.zero_grad()
    ...     loss().backward()
    ...     optimizer.step()
    >>> loss().item() < before
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 1e-2,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = True,
        window: int = 128,
        damp: float = 1e-3,
        kl_clip: float | None = 1e-2,
        storage: str | None = None,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, defaults | {"window": window, "damp": damp, "kl_clip": kl_clip, "storage": storage})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options and a window of their own.

        Raises
        ------
        ValueError
            An option is out of range; parameters are on several devices or known already.
        TypeError
            An option is of a wrong type; parameters are complex.
        """
        _check_options(self.defaults | param_group)
        super().add_param_group(param_group)
        params = self.param_groups[-1]["params"]
        for p in params:
            _checks.real_dtype(NAME, "params", p)
        devices = {str(p.device) for p in params}
        if len(devices) > 1:
            raise ValueError(f"{NAME}: params must be on one device in each group; got {', '.join(sorted(devices))}")

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step.

        Parameters
        ----------
        closure : callable
            Computes the loss and its gradients anew.

        Returns
        -------
        float
            What closure returned.

        Raises
        ------
        ValueError
            A gradient has entries that are not finite; windows and parameters stay as they were.
        TypeError
            A gradient is sparse.

        Warns
        -----
        ConvergenceWarning
            damp is so small beside the gradients that a step may have less than three correct digits.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = [_gradient(i, group["params"]) for i, group in enumerate(self.param_groups)]
        for i, (group, g) in enumerate(zip(self.param_groups, gradients, strict=True)):
            if g is not None:
                _move(group, g, self._state_of(i, g))
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return options, windows and steps as tensors and numbers; the windows are copied."""
        packed = super().state_dict()
        packed["state"] = _packed(packed["state"])
        return packed

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return state | {"state": _packed(state["state"])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        unpacked = _unpacked(state["state"], state["param_groups"])  # load_state_dict comes here too
        super().__setstate__(state | {"state": defaultdict(dict, unpacked)})

    def _state_of(self, i: int, g: torch.Tensor) -> dict[str, Any]:
        """Return window and last displacement of a group, which begin with its first gradient.

        Raises
        ------
        ValueError
            Somebody changed an option of the window since.
        """
        states = cast("dict[Any, Any]", self.state)
        options = {name: self.param_groups[i][name] for name in ("window", "damp", "storage")}
        if _key(i) not in states:
            fisher = SlidingMFAC(len(g), **options)
            states[_key(i)] = {"fisher": fisher, "displacement": torch.zeros_like(g), "options": options}
        if options != states[_key(i)]["options"]:
            raise ValueError(f"{NAME}.step: window, damp and storage must stay as they were at the first step of group {i}; got {options}")
        return states[_key(i)]


def _check_options(options: Mapping[str, Any]) -> None:
    """Require options of a group that make sense."""
    for name in ("lr", "weight_decay"):
        _checks.real(NAME, name, options[name], 0)
    _checks.real(NAME, "momentum", options["momentum"], 0, math.nextafter(1, 0))
    _checks.choice(NAME, "decoupled_weight_decay", options["decoupled_weight_decay"], (True, False))
    _checks.integer(NAME, "window", options["window"], 1)
    _checks.real(NAME, "damp", options["damp"], 0, open=True)
    _checks.choice(NAME, "storage", options["storage"], (None, "bfloat16"))
    if options["kl_clip"] is not None:
        _checks.real(NAME, "kl_clip", options["kl_clip"], 0, open=True)


def _gradient(i: int, params: list[torch.Tensor]) -> torch.Tensor | None:
    """Return the gradients of a group as one vector, zero where a parameter has none; None if no one has.

    Raises
    ------
    TypeError
        One is sparse.
    ValueError
        An entry is not finite.
    """
    grads = [p.grad for p in params]
    if all(grad is None for grad in grads):
        return None
    for grad in grads:
        if grad is not None and grad.layout != torch.strided:
            raise TypeError(f"{NAME}.step: gradients must be dense; got one of layout {grad.layout} in group {i}")
    return _checks.finite(f"{NAME}.step", f"the gradient of group {i}", _flat(grads, params))


def _flat(tensors: list[torch.Tensor | None], params: list[torch.Tensor]) -> torch.Tensor:
    """Put tensors that belong to parameters one behind the other, without a copy of a single one."""
    dtype = torch.float64 if any(p.dtype == torch.float64 for p in params) else torch.float32
    parts = [torch.zeros_like(p, dtype=dtype) if t is None else t.to(dtype) for t, p in zip(tensors, params, strict=True)]
    return torch.cat([part.reshape(-1) for part in parts]) if len(parts) > 1 else parts[0].reshape(-1)


def _move(group: dict[str, Any], g: torch.Tensor, state: dict[str, Any]) -> None:
    """Push a gradient into the window of its group, and move the parameters that have one."""
    params, lr, keep = group["params"], float(group["lr"]), 1.0
    if group["storage"] is not None:
        g = g.bfloat16().to(g.dtype)
    state["fisher"].push(g)
    if group["decoupled_weight_decay"]:
        keep -= lr * group["weight_decay"]
    else:
        g = g + group["weight_decay"] * _flat([None if p.grad is None else p for p in params], params)
    natural = state["fisher"].solve(g).x
    length = _length(lr, float(torch.dot(g, natural)), group["kl_clip"])
    state["displacement"] = group["momentum"] * state["displacement"] + (1 - group["momentum"]) * length * natural
    for p, step in zip(params, state["displacement"].split([p.numel() for p in params]), strict=True):
        if p.grad is not None:
            p.copy_(keep * p.to(step.dtype) - step.reshape(p.shape))


def _length(lr: float, square: float, kl_clip: float | None) -> float:
    """Cut lr so far that half the squared length of the step is at most kl_clip, where `square` is that of the natural gradient."""
    change = lr * lr * square / 2
    return lr if kl_clip is None or change <= kl_clip else lr * math.sqrt(kl_clip / change)


def _key(i: int) -> str:
    """Name the state of a group: what has no number of a parameter is loaded as it is, without a cast to a dtype."""
    return f"group {i}"


def _packed(states: Mapping[Any, Any]) -> dict[Any, Any]:
    """Turn windows into tensors."""
    return {key: state | {"fisher": _tensors(state["fisher"])} for key, state in states.items()}


def _unpacked(states: Mapping[Any, Any], groups: list[dict[str, Any]]) -> dict[Any, Any]:
    """Turn tensors into windows again, for the same groups.

    Raises
    ------
    ValueError
        They are of another optimizer, or a group has another number of parameters.
    """
    where, unpacked = f"{NAME}.load_state_dict", {}
    if not states.keys() <= {_key(i) for i in range(len(groups))}:
        raise ValueError(f"{where}: state_dict must be that of an MFAC optimizer of {len(groups)} groups; got other states")
    for i, group in enumerate(groups):
        if (state := states.get(_key(i))) is not None:
            _checks.shape(where, f"the displacement of group {i}", state["displacement"], (sum(p.numel() for p in group["params"]),))
            displacement = state["displacement"].to(group["params"][0].device)
            unpacked[_key(i)] = state | {"fisher": _window(state["fisher"]), "displacement": displacement}
    return unpacked


def _tensors(fisher: SlidingMFAC) -> dict[str, torch.Tensor | str]:
    """Return the state of a window as tensors and words."""
    return {name: str(array) if array.dtype.kind == "U" else torch.from_numpy(array) for name, array in fisher.state_dict().items()}


def _window(tensors: Mapping[str, torch.Tensor | str]) -> SlidingMFAC:
    """Load a window from tensors."""
    return SlidingMFAC.from_state_dict({name: x if isinstance(x, str) else x.cpu().numpy() for name, x in tensors.items()})

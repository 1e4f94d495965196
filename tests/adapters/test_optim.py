"""The optimizer `MFAC` against its own definition with a dense inverse in float64, and as PyTorch uses it."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest

from lowrank_la import ConvergenceWarning, limit_threads

torch = pytest.importorskip("torch")

from lowrank_la.adapters.optim import MFAC  # noqa: E402

SIZES = (5, 4, 2)
OPTIONS = {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.3, "window": 6, "damp": 0.02}


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny products do not wait for a second core that may be busy."""
    with limit_threads(1):
        yield


def network(dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(SIZES[0], SIZES[1]), torch.nn.Tanh(), torch.nn.Linear(SIZES[1], SIZES[2])]
    return torch.nn.Sequential(*layers).to(dtype)


def batch(k, dtype=torch.float64):
    generator = torch.Generator().manual_seed(k)
    X = torch.randn(8, SIZES[0], generator=generator, dtype=torch.float64).to(dtype)
    return X, torch.stack([X[:, 0] - X[:, 1], X[:, 2] ** 2], dim=1)


def backward(model, k):
    X, y = batch(k, next(model.parameters()).dtype)
    model.zero_grad()
    loss = ((model(X) - y) ** 2).mean()
    loss.backward()
    return loss.item()


def train(model, optimizer, steps):
    for k in steps:
        backward(model, k)
        optimizer.step()


def vector(tensors):
    return torch.cat([t.detach().reshape(-1) for t in tensors]).double().numpy()


class Dense:
    """The definition for one group: H is formed and factored."""

    def __init__(self, w, *, lr, momentum=0.0, weight_decay=0.0, decoupled_weight_decay=True, window, damp, kl_clip=None):
        self.w, self.v, self.rows = w.copy(), np.zeros_like(w), []
        self.lr, self.momentum, self.decay, self.decoupled = lr, momentum, weight_decay, decoupled_weight_decay
        self.window, self.damp, self.kl_clip = window, damp, kl_clip

    def step(self, g):
        self.rows = [*self.rows, g][-self.window :]
        H = self.damp * np.eye(len(g)) + sum(np.outer(row, row) for row in self.rows) / len(self.rows)
        move = self.lr * np.linalg.solve(H, g if self.decoupled else g + self.decay * self.w)
        if self.kl_clip is not None and self.lr > 0:
            move *= min(1.0, np.sqrt(self.kl_clip / (move @ H @ move / 2)))
        self.v = self.momentum * self.v + (1 - self.momentum) * move
        self.w = (1 - self.lr * self.decay if self.decoupled else 1) * self.w - self.v


def follow(model, optimizer, dense, steps, rtol):
    """Step both from the gradients of the model."""
    for k in range(steps):
        backward(model, k)
        for group, each in zip(optimizer.param_groups, dense, strict=True):
            each.step(vector([p.grad for p in group["params"]]))
        optimizer.step()
        for group, each in zip(optimizer.param_groups, dense, strict=True):
            np.testing.assert_allclose(vector(group["params"]), each.w, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("decoupled", [True, False])
@pytest.mark.parametrize("kl_clip", [None, 1e-3, 1e3])
@pytest.mark.parametrize("window", [1, 6, 50])
def test_twenty_steps_follow_the_definition(window, kl_clip, decoupled):
    options = OPTIONS | {"window": window, "kl_clip": kl_clip, "decoupled_weight_decay": decoupled}
    model = network()
    follow(model, MFAC(model.parameters(), **options), [Dense(vector(model.parameters()), **options)], 20, 1e-9)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_lower_precision_follows_the_definition(dtype, rtol):
    options = OPTIONS | {"kl_clip": 1e-3, "weight_decay": 0.0, "lr": 0.02}
    model = network(dtype)
    dense = Dense(vector(model.parameters()), **options)
    follow(model, MFAC(model.parameters(), **options), [dense], 10, rtol)
    assert all(p.dtype == dtype for p in model.parameters())


def test_a_window_of_rounded_gradients_follows_the_definition_for_them():
    model, options = network(torch.float32), OPTIONS | {"kl_clip": 1e-2}
    optimizer, dense = MFAC(model.parameters(), **options, storage="bfloat16"), Dense(vector(model.parameters()), **options)
    for k in range(10):
        backward(model, k)
        dense.step(vector([p.grad.bfloat16() for p in model.parameters()]))
        optimizer.step()
        np.testing.assert_allclose(vector(model.parameters()), dense.w, rtol=1e-4, atol=1e-4)
    assert optimizer.state_dict()["state"]["group 0"]["fisher"]["grads"].dtype == torch.uint16


def test_groups_have_windows_and_options_of_their_own():
    model = network()
    layers = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "momentum": 0.0, "window": 3, "damp": 0.1}]
    optimizer = MFAC(layers[:1], **OPTIONS, kl_clip=1e-2)
    optimizer.add_param_group(layers[1])
    dense = [
        Dense(vector(model[0].parameters()), **(OPTIONS | {"lr": 0.1}), kl_clip=1e-2),
        Dense(vector(model[2].parameters()), **(OPTIONS | {"momentum": 0.0, "window": 3, "damp": 0.1}), kl_clip=1e-2),
    ]
    follow(model, optimizer, dense, 12, 1e-9)


def test_no_step_is_longer_than_allowed():
    model, rows, damp = network(), [], 1e-6
    optimizer = MFAC(model.parameters(), lr=10.0, momentum=0.0, window=5, damp=damp, kl_clip=1e-3)
    for k in range(15):
        backward(model, k)
        rows = [*rows, vector([p.grad for p in model.parameters()])][-5:]
        before = vector(model.parameters())
        optimizer.step()
        move = vector(model.parameters()) - before
        square = damp * move @ move + sum((row @ move) ** 2 for row in rows) / len(rows)
        assert square / 2 == pytest.approx(1e-3, rel=1e-5)


def test_the_first_step_knows_one_gradient_only():
    """Zero rows in the window, as published, would make it nearly `window` times as long."""
    model, damp, window = network(), 1e-4, 64
    backward(model, 0)
    g, before = vector([p.grad for p in model.parameters()]), vector(model.parameters())
    MFAC(model.parameters(), lr=1.0, momentum=0.0, window=window, damp=damp, kl_clip=None).step()
    move = np.linalg.norm(vector(model.parameters()) - before)
    assert move == pytest.approx(np.linalg.norm(g) / (damp + g @ g), rel=1e-9)
    assert np.linalg.norm(g) / (damp + g @ g / window) > 60 * move


def test_a_step_length_of_zero_fills_the_window():
    model, twin = network(), network()
    optimizer = MFAC(model.parameters(), **(OPTIONS | {"lr": 0.0}))
    before = vector(model.parameters())
    train(model, optimizer, range(4))
    np.testing.assert_array_equal(vector(model.parameters()), before)
    optimizer.param_groups[0]["lr"] = 0.05
    dense = Dense(before, **OPTIONS, kl_clip=1e-2)
    dense.lr = 0.0
    for k in range(5):
        backward(twin, k)
        dense.lr = 0.05 if k == 4 else 0.0
        dense.step(vector([p.grad for p in twin.parameters()]))
    train(model, optimizer, [4])
    np.testing.assert_allclose(vector(model.parameters()), dense.w, rtol=1e-9)


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(("dtype", "storage"), [("float64", None), ("float32", None), ("bfloat16", None), ("float32", "bfloat16")])
@pytest.mark.parametrize("steps", [0, 3, 9])
def test_training_resumes_bit_for_bit(steps, dtype, storage):
    model = network(getattr(torch, dtype))
    groups = [{"params": list(layer.parameters())} for layer in (model[0], model[2])]
    optimizer = MFAC(groups, **OPTIONS, storage=storage)
    train(model, optimizer, range(steps))
    state, weights = saved(optimizer.state_dict()), saved(model.state_dict())
    train(model, optimizer, range(steps, steps + 9))  # must not reach what was saved

    again = network(getattr(torch, dtype), seed=1)
    again.load_state_dict(weights)
    other = MFAC([{"params": list(layer.parameters())} for layer in (again[0], again[2])])
    other.load_state_dict(state)
    assert other.param_groups[0]["window"] == OPTIONS["window"]
    train(again, other, range(steps, steps + 9))
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_optimizers_can_be_copied_with_their_model(duplicate):
    model = network()
    optimizer = MFAC(model.parameters(), **OPTIONS)
    train(model, optimizer, range(5))
    twin, other = duplicate((model, optimizer))
    for pair in ((model, optimizer), (twin, other)):
        train(*pair, range(5, 9))
    np.testing.assert_array_equal(vector(twin.parameters()), vector(model.parameters()))


def test_a_state_dict_keeps_what_it_was():
    model = network()
    optimizer = MFAC(model.parameters(), **OPTIONS)
    train(model, optimizer, range(3))
    state = optimizer.state_dict()
    before = saved(state)
    train(model, optimizer, range(3, 9))
    assert str(before["state"]) == str(state["state"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(bad):
    runs = []
    for spoil in (False, True):
        model = network()
        optimizer = MFAC([{"params": layer.parameters()} for layer in (model[0], model[2])], **OPTIONS)
        train(model, optimizer, range(4))
        if spoil:
            backward(model, 99)
            model[2].bias.grad[1] = bad
            with pytest.raises(
                ValueError, match=r"MFAC\.step: the gradient of group 1 must be finite; got 1 NaN or infinite entry out of 10"
            ):
                optimizer.step()
        train(model, optimizer, range(4, 8))
        runs.append(vector(model.parameters()))
    np.testing.assert_array_equal(*runs)


def test_a_parameter_without_a_gradient_stays():
    model = network()
    optimizer = MFAC(model.parameters(), **OPTIONS)
    dense = Dense(vector(model.parameters()), **OPTIONS, kl_clip=1e-2)
    follow(model, optimizer, [dense], 3, 1e-9)
    backward(model, 3)
    g = vector([p.grad for p in model.parameters()])
    g[-2:] = 0
    before, model[2].bias.grad = model[2].bias.clone(), None
    optimizer.step()
    dense.step(g)
    assert torch.equal(model[2].bias, before)
    np.testing.assert_allclose(vector(model.parameters())[:-2], dense.w[:-2], rtol=1e-9)
    for p in model.parameters():
        p.grad = None
    before = vector(model.parameters())
    optimizer.step()
    np.testing.assert_array_equal(vector(model.parameters()), before)


def test_a_closure_computes_the_loss_anew():
    model, twin = network(), network()
    optimizer = MFAC(model.parameters(), **OPTIONS)
    train(twin, MFAC(twin.parameters(), **OPTIONS), range(4))
    losses = [optimizer.step(lambda k=k: backward(model, k)) for k in range(4)]
    assert losses[0] == backward(network(), 0)
    np.testing.assert_array_equal(vector(model.parameters()), vector(twin.parameters()))


def test_schedulers_and_named_parameters_work():
    model = network()
    optimizer = MFAC(model.named_parameters(), **OPTIONS)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.1)
    dense = Dense(vector(model.parameters()), **OPTIONS, kl_clip=1e-2)
    for k in range(6):
        backward(model, k)
        dense.step(vector([p.grad for p in model.parameters()]))
        optimizer.step()
        scheduler.step()
        dense.lr *= 0.1 if k % 2 else 1
    np.testing.assert_allclose(vector(model.parameters()), dense.w, rtol=1e-9)


def test_parameters_of_one_group_may_differ_in_dtype_and_shape():
    weights = [torch.nn.Parameter(torch.ones(3, 2)), torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))]
    optimizer = MFAC(weights, **OPTIONS)
    dense = Dense(vector(weights), **OPTIONS, kl_clip=1e-2)
    for _ in range(5):
        for p in weights:
            p.grad = p.detach() ** 2
        dense.step(vector([p.grad for p in weights]))
        optimizer.step()
        np.testing.assert_allclose(vector(weights), dense.w, rtol=1e-5)
    transposed = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3).T)  # not contiguous
    transposed.grad = torch.ones(3, 2)
    MFAC([transposed], lr=1.0, momentum=0.0, damp=1.0, kl_clip=None).step()
    torch.testing.assert_close(transposed.detach(), torch.arange(6.0).reshape(2, 3).T - 1 / 7)


def test_sparse_gradients_are_refused():
    table = torch.nn.Embedding(10, 3, sparse=True)
    optimizer = MFAC(table.parameters())
    table(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(TypeError, match=r"MFAC\.step: gradients must be dense; got one of layout torch\.sparse_coo in group 0"):
        optimizer.step()


def test_a_damping_below_roundoff_is_told():
    p = torch.nn.Parameter(torch.ones(6, dtype=torch.float64))
    optimizer = MFAC([p], damp=1e-13, weight_decay=1.0, decoupled_weight_decay=False)
    p.grad = 1e6 * torch.arange(6.0, dtype=torch.float64)
    with pytest.warns(ConvergenceWarning, match="damp = 1e-13 is too small beside the gradients"):
        optimizer.step()


def loaded(state, **options):
    model = network()
    MFAC(model.parameters(), **options).load_state_dict(state)


def trained_state(optimizer_of, model):
    optimizer = optimizer_of(model.parameters())
    train(model, optimizer, range(2))
    return optimizer.state_dict()


def test_states_that_do_not_fit_are_refused():
    with pytest.raises(
        ValueError, match=r"MFAC\.load_state_dict: state_dict must be that of an MFAC optimizer of 1 groups; got other states"
    ):
        loaded(trained_state(torch.optim.Adam, network()))
    larger = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    with pytest.raises(ValueError, match=r"MFAC\.load_state_dict: the displacement of group 0 must have shape \(34,\); got \(50,\)"):
        loaded(trained_state(MFAC, larger))


@pytest.mark.parametrize(("name", "value"), [("window", 7), ("damp", 0.1), ("storage", "bfloat16")])
def test_the_window_cannot_change_under_way(name, value):
    model = network()
    optimizer = MFAC(model.parameters(), **OPTIONS)
    train(model, optimizer, range(2))
    optimizer.param_groups[0][name] = value
    backward(model, 2)
    with pytest.raises(ValueError, match=r"MFAC\.step: window, damp and storage must stay as they were at the first step of group 0"):
        optimizer.step()


BAD = [
    ({"lr": -1}, ValueError, "MFAC: lr must be a number of at least 0"),
    ({"lr": "fast"}, TypeError, "MFAC: lr must be a number of at least 0"),
    ({"momentum": 1.0}, ValueError, "MFAC: momentum must be a number between 0 and 1"),
    ({"momentum": -0.1}, ValueError, "MFAC: momentum must be a number between 0 and 1"),
    ({"weight_decay": np.inf}, ValueError, "MFAC: weight_decay must be a number of at least 0"),
    ({"decoupled_weight_decay": "yes"}, ValueError, "MFAC: decoupled_weight_decay must be one of True, False"),
    ({"window": 0}, ValueError, "MFAC: window must be an integer of at least 1"),
    ({"window": 2.5}, TypeError, "MFAC: window must be an integer of at least 1"),
    ({"damp": 0}, ValueError, "MFAC: damp must be a number above 0"),
    ({"storage": "int8"}, ValueError, "MFAC: storage must be one of None, 'bfloat16'"),
    ({"kl_clip": 0}, ValueError, "MFAC: kl_clip must be a number above 0"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_bad_options(options, error, message):
    parameters = [torch.nn.Parameter(torch.ones(2))]
    with pytest.raises(error, match=message):
        MFAC(parameters, **options)
    optimizer = MFAC(parameters)
    with pytest.raises(error, match=message):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], **options})
    assert len(optimizer.param_groups) == 1


def test_bad_parameters():
    with pytest.raises(TypeError, match=r"MFAC: params must be real; got dtype torch\.complex64"):
        MFAC([torch.nn.Parameter(torch.ones(2, dtype=torch.complex64))])
    with pytest.raises(ValueError, match="MFAC: params must be on one device in each group; got cpu, meta"):
        MFAC([torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2, device="meta"))])
    with pytest.raises(ValueError, match="empty parameter list"):
        MFAC([])


def digits():
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = datasets.load_digits(return_X_y=True)
    return torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)


def digits_loss(make, X, y, seed, steps=200):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimizer, generator = make(model.parameters()), torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(X), (64,), generator=generator)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(X[rows]), y[rows]).backward()
        optimizer.step()
    return torch.nn.functional.cross_entropy(model(X), y).item()


def test_the_digits_are_learnt_better_than_by_the_best_sgd():
    X, y = digits()
    seeds = range(3)
    sgd = [min(digits_loss(lambda p, lr=lr: torch.optim.SGD(p, lr=lr), X, y, s) for lr in (0.2, 0.4, 0.7, 1.0, 1.4)) for s in seeds]
    ours = [digits_loss(MFAC, X, y, s) for s in seeds]
    assert np.median(ours) < 0.7 * np.median(sgd)


def test_nothing_but_the_optimizer_needs_torch():
    hide = "import sys; sys.modules['torch'] = None; "
    light = "import sys, lowrank_la.adapters.compress; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", light], check=True)
    done = subprocess.run(
        [sys.executable, "-c", hide + "from lowrank_la.adapters import compress, optim"], capture_output=True, text=True, check=False
    )
    assert "ImportError: lowrank_la.adapters.optim needs PyTorch: pip install 'lowrank_la[torch]'" in done.stderr

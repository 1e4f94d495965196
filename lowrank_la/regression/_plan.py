"""Which method, and how large a sketch of which kind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lowrank_la import _checks, sketching
from lowrank_la.regression._entry import NAME, Entry

METHODS = ("auto", "solve", "cholqr", "spir", "fossils", "ihs", "direct")
KINDS = {
    "sparse_sign": "SparseSign",
    "countsketch": "CountSketch",
    "srht": "SRHT",
    "srdct": "SRDCT",
    "rademacher": "Rademacher",
    "gaussian": "Gaussian",
    "bgp": "BGP",
}
SKETCHES = ("auto", *KINDS)
DENSE_KINDS = ("gaussian", "bgp", "srht", "srdct")  # whose errors follow Student's law (nearly)

SMALL = 1 << 15  # entries of a dense tall A up to which LAPACK is as fast
SMALL_OTHER = 1 << 18  # the same for other kinds of A, and for wide ones
GATHERED = 1 << 27  # entries up to which a sparse, blocked or implicit A may be made dense
SIGNS = 4  # in each column of a sparse-sign sketch: as good as 8 with so many rows, also on coherent data, and faster
MANY = 640  # columns from which A^H A costs more than forty passes over A
HALF = 250  # columns from which a Gram matrix in float32 saves time


@dataclass(frozen=True)
class Plan:
    """What will be done.

    Attributes
    ----------
    method, kind : str
        Never "auto".
    S : Sketch or None
        None: all of A takes the place of its sketch.
    delta : float
        Certificates that rest on chance hold with probability 1 - delta.
    fast : bool
        Let the Gram matrix have the precision of float32.
    once : bool
        A can be read once only.
    """

    method: str
    kind: str
    S: Any
    delta: float
    fast: bool
    once: bool = False

    @property
    def height(self) -> int:
        return 0 if self.S is None else self.S.shape[0]


def make_plan(entry: Entry, method: str, kind: str, rows: int | None, eps: float | None, delta: float, seed: int) -> Plan:
    """Settle what the caller left open."""
    n, d = entry.shape
    if eps is not None:
        eps = _checks.real(NAME, "eps", eps, 0, open=True)
        _refuse(method not in {"auto", "solve"}, f"eps needs method='solve'; got method={method!r}")
        _refuse(kind == "countsketch", "eps needs a sketch other than 'countsketch', whose errors gather in few entries")
        _refuse(rows is not None, "eps and sketch_rows exclude each other")
    once = entry.kind == "stream"
    if entry.wide:
        _refuse(eps is not None or once, f"A must have as many rows as columns for method='solve'; got {n} rows and {d} columns")
        return _wide_plan(entry, method, kind, rows, delta, seed)
    if method == "auto":
        method = _choose(entry, eps)
    _refuse(
        once and method != "solve",
        f"A comes once, but method={method!r} reads it again; pass a list or a function that returns the blocks, or method='solve'",
    )
    if kind == "auto":
        kind = "gaussian" if once else "sparse_sign"  # A that comes once leaves no other certificate
    height = _height(entry, method, eps, delta) if rows is None else _checks.integer(NAME, "sketch_rows", rows, d + 1, max(n, d + 1))
    fits = n * d <= GATHERED or entry.kind == "dense"
    if method == "direct" or (height >= n and fits and not once):
        return Plan("direct", kind, None, delta, False)
    options = {"zeta": SIGNS} if kind == "sparse_sign" else {}
    S = getattr(sketching, KINDS[kind])(height, n, rng=seed, **options)
    return Plan(method, kind, S, delta, method == "cholqr" and d >= HALF and entry.double, once)


def _wide_plan(entry: Entry, method: str, kind: str, rows: int | None, delta: float, seed: int) -> Plan:
    """Sketch A^H if it is tall enough; every iterative method is the same one here."""
    n, d = entry.shape
    small = (d < 4 * n or n * d < SMALL_OTHER) and n * d <= GATHERED
    height = 4 * n + 64 if rows is None else _checks.integer(NAME, "sketch_rows", rows, n + 1, max(d, n + 1))
    if method == "direct" or (method == "auto" and small) or (height >= d and n * d <= GATHERED):
        return Plan("direct", kind, None, delta, False)
    kind = "sparse_sign" if kind == "auto" else kind
    return Plan("cholqr", kind, getattr(sketching, KINDS[kind])(height, d, rng=seed), delta, False)


def _refuse(wrong: bool, rule: str) -> None:
    if wrong:
        raise ValueError(f"{NAME}: {rule}")


def _choose(entry: Entry, eps: float | None) -> str:
    n, d = entry.shape
    if eps is not None or entry.kind == "stream":
        return "solve"
    small = SMALL if entry.kind == "dense" else SMALL_OTHER
    if (n < 4 * d or n * d < small) and n * d <= GATHERED:
        return "direct"
    if entry.kind == "blocks":
        return "cholqr"  # the fewest passes
    return "cholqr" if entry.kind == "dense" and d <= MANY else "spir"


def _height(entry: Entry, method: str, eps: float | None, delta: float) -> int:
    n, d = entry.shape
    if eps is not None:
        wanted = math.ceil(2 * d * math.log(2 * d / delta) / eps**2)
        return n if wanted > n / 2 else max(wanted, 4 * d)
    factor = {
        "solve": max(6.0, 4 * math.log(d + 2) * min(1.0, 150 / max(d, 1))),
        "cholqr": 4 if d < HALF else 2,
        "spir": 8 if entry.kind == "sparse" else 4,
        "fossils": 12,
        "ihs": _ihs_factor(n, d),
        "direct": 0,
    }[method]
    return math.ceil(factor * d) + 64


def _ihs_factor(n: int, d: int) -> float:
    """Rows per column at which sketch, QR and iterations together cost least; at most an eighth of A."""
    from scipy.special import lambertw

    best = math.exp(2 * float(lambertw(math.sqrt(36 * n) / d).real)) if d else 4.0
    return max(4.0, min(best, n / (8 * max(d, 1))))

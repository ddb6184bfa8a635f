"""FLOPs counted at dispatch: every operator, by its name and by part of the model.

torch's flop counter has formulas for most operators; formulas that it lacks and models need are
added here. A compute-heavy operator without a formula is recorded by name. Kernels that are
launched past the dispatcher are not seen here: traces tell of those (`traces.undispatched`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch._C import DispatchKey
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mfuscope.flops.attribution import notified
from mfuscope.flops.components import OTHER

aten = torch.ops.aten

# (label, module), and (label, module, name of its method).
Labels = Sequence[tuple[str, nn.Module]]
MethodLabels = Sequence[tuple[str, nn.Module, str]]

# Parts of the names of compute-heavy operators.
_HEAVY = (
    *("mm", "matmul", "linear", "conv", "attention", "attn", "transformer", "einsum", "trilinear"),
    *("mv", "dot", "addr", "ger", "outer", "cdist", "fft", "rnn", "lstm", "gru"),
    *("linalg_", "matrix_exp", "cholesky", "svd", "triangular_solve", "lu_solve"),
)
# Operators of other namespaces are custom kernels, each of which may be heavy.
_OWN_NAMESPACES = ("aten", "prim", "prims", "profiler")
_LIGHT = (
    *("upsample", "gamma", "cummax", "cummin", "fftshift", "fftfreq", "linalg_vector_norm"),
    *("scatter_add", "range", "larger", "trigger", "merge", "integer"),
)

_COMPOSITE = DispatchKey.CompositeImplicitAutograd

# Higher-order operators whose code outside of compiled regions calls operators, one by one.
_OF_OPERATORS = ("flex_attention", "while_loop", "map_impl", "associative_scan")


def _grouped_mm_flop(a: torch.Tensor, b: torch.Tensor, *_: Any, **__: Any) -> int:
    """FLOPs of ``_grouped_mm``, whose groups divide M, N or K, or are batches.

    (M, K) by (G, K, N), as of experts: each row is multiplied by one group's matrix, ``2MKN``.
    (G, M, K) by (G, K, N): ``2GMKN``. (G, M, K) by (K, N): each column of N belongs to one group,
    ``2MKN``. (M, K) by (K, N): each slice of K belongs to one group, ``2MKN``.
    """
    if a.dim() == 3 and b.dim() == 2:
        return 2 * a.shape[1] * a.shape[2] * b.shape[1]
    return 2 * prod(a.shape[:-1]) * a.shape[-1] * b.shape[-1]


def _attention_flop(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
) -> int:
    """Scores and weighted sum over the full context, ``2 B H S_q S_k (D_qk + D_v)``.

    Of queries (B, H, S_q, D_qk); groups of their heads may share one of the keys and values, which
    the formula of torch 2.11 refuses.
    """
    return 2 * prod(query.shape[:3]) * key.shape[2] * (query.shape[3] + value.shape[3])


def _mv_flop(matrix: torch.Tensor, *_: Any, **__: Any) -> int:
    """2 x M x K of a matrix (M, K) times a vector."""
    return 2 * matrix.shape[0] * matrix.shape[1]


def _addmv_flop(_bias: torch.Tensor, matrix: torch.Tensor, *_: Any, **__: Any) -> int:
    return _mv_flop(matrix)


def _addbmm_flop(_bias: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *_: Any, **__: Any) -> int:
    """2 x B x M x K x N of batches (B, M, K) by (B, K, N), added up."""
    return 2 * prod(a.shape) * b.shape[2]


def _int_mm_flop(a: torch.Tensor, b: torch.Tensor, *_: Any, **__: Any) -> int:
    """2 x M x K x N, of integers."""
    return 2 * a.shape[0] * a.shape[1] * b.shape[1]


def _addmm_activation_flop(
    _bias: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *_: Any, **__: Any
) -> int:
    return _int_mm_flop(a, b)


def _dot_flop(a: torch.Tensor, *_: Any, **__: Any) -> int:
    """2 x K of two vectors of length K."""
    return 2 * a.shape[0]


_OWN_FORMULAS: dict[Any, Callable[..., int]] = {
    aten._grouped_mm: _grouped_mm_flop,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop,
    aten._scaled_dot_product_cudnn_attention: _attention_flop,
    aten._scaled_dot_product_flash_attention: _attention_flop,
    aten._scaled_dot_product_efficient_attention: _attention_flop,
    aten.mv: _mv_flop,
    aten.addmv: _addmv_flop,
    aten.dot: _dot_flop,
    aten.vdot: _dot_flop,
    aten.addbmm: _addbmm_flop,
    aten._int_mm: _int_mm_flop,
    aten._addmm_activation: _addmm_activation_flop,
}

# In traces the time of some operators is with another one, which they call and which has their
# kernels. Of convolution, by torch's backend; all names are of torch's native functions.
_CONVOLUTIONS = {
    "Cudnn": "aten::cudnn_convolution",
    "CudaDepthwise2d": "aten::_conv_depthwise2d",
    "Mkldnn": "aten::mkldnn_convolution",
    "Slow2d": "aten::_slow_conv2d_forward",
}
_ATTENTIONS = {
    "aten::_scaled_dot_product_cudnn_attention": "aten::_cudnn_attention_forward",
    "aten::_scaled_dot_product_flash_attention": "aten::_flash_attention_forward",
    "aten::_scaled_dot_product_efficient_attention": "aten::_efficient_attention_forward",
}


def _formula(packet: Any) -> Callable[..., int] | None:
    """The formula of an operator; an in-place variant has its functional twin's."""
    name = str(packet)
    if name == "transformers.grouped_mm_fallback":
        return _grouped_mm_flop
    twin = packet
    if name.startswith("aten.") and name.endswith("_") and not name.endswith("__"):
        twin = getattr(aten, name.removeprefix("aten.")[:-1], packet)
    for candidate in (packet, twin):
        if candidate in _OWN_FORMULAS:
            return _OWN_FORMULAS[candidate]
        if candidate in flop_registry:
            known: Callable[..., int] = flop_registry[candidate]
            return known
    return None


@dataclass(frozen=True, slots=True)
class _Operator:
    """What is known of an operator, looked up once: a model calls the same few thousands of times.

    Attributes:
        formula: of its FLOPs, None for those without.
        composite: whether it has no formula and is made of other operators.
        heavy: whether much arithmetic may go uncounted without a formula.
    """

    formula: Callable[..., int] | None
    composite: bool
    heavy: bool

    @classmethod
    def of(cls, func: Any) -> "_Operator":
        formula = _formula(func._overloadpacket)
        made_of_others = func is not torch.ops.prim.device.default and (
            _COMPOSITE in func.py_kernels
            or torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _COMPOSITE)
        )
        return cls(
            formula=formula,
            composite=formula is None and made_of_others,
            heavy=_looks_heavy(str(func._overloadpacket)),
        )


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context manager that counts the FLOPs of its body, by operator and by part of the model.

    Attributes:
        counts: FLOPs by part; ``other`` outside of every part.
        operators: FLOPs by operator, the same sum as `counts`; the operator that has the time in
            torch.profiler's traces.
        calls: calls of the operators that have FLOPs, of empty ones too.
        uncounted: names of compute-heavy operators that ran and have no formula.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: dict[str, int] = defaultdict(int)
        self.operators: dict[str, int] = defaultdict(int)
        self.calls: dict[str, int] = defaultdict(int)
        self.uncounted: set[str] = set()
        self._parts = [OTHER]
        self._known: dict[Any, _Operator] = {}

    @property
    def total(self) -> int:
        """FLOPs so far."""
        return sum(self.counts.values())

    @contextmanager
    def attribute(self, modules: Labels, methods: MethodLabels = ()) -> Iterator[None]:
        """Count FLOPs of the labelled modules and methods for their labels, in the body.

        The innermost label counts; FLOPs outside of all labels count as ``other``.
        """
        with notified(modules, methods, self._parts.append, self._parts.pop):
            yield

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            return self._higher_order(func, args, kwargs)
        operator = self._known.get(func)
        if operator is None:
            operator = self._known[func] = _Operator.of(func)
        if operator.composite:
            # In inference mode, composite operators (linear, matmul, ...) are dispatched whole.
            with self:
                out = _decompose(func, args, kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if operator.formula is not None:
            self._count(func._overloadpacket, operator.formula, args, kwargs, out)
        elif operator.heavy:
            self.uncounted.add(str(func._overloadpacket))
        return out

    def _higher_order(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        """Run a higher-order operator, and count what its parts do where these can be seen.

        Of `cond` the branch that is taken, of a loop each iteration, and of flex attention all of
        its context.
        """
        if func.name() == "cond":  # torch's own code refuses counters
            predicate, true, false, operands = args
            with self:
                return (true if predicate else false)(*operands)
        if func.name() in _OF_OPERATORS:
            with self:
                return func.py_kernels[DispatchKey.CompositeExplicitAutograd](*args, **kwargs)
        self.uncounted.add(f"{func.namespace}.{func.name()}")
        return func(*args, **kwargs)

    def _count(
        self, packet: Any, formula: Callable[..., int], args: tuple[Any, ...], kwargs: Any, out: Any
    ) -> None:
        # torch's formulas take the result too; ours ignore it.
        flops = int(formula(*args, **kwargs, out_val=out))
        name, calls = _computing(packet, args, kwargs)
        self.counts[self._parts[-1]] += flops
        self.operators[name] += flops
        self.calls[name] += calls


def _computing(packet: Any, args: tuple[Any, ...], kwargs: Any) -> tuple[str, int]:
    """The name of the operator that computes, as a trace has it, and how often it is called.

    On a CPU ``_grouped_mm`` only loops over its groups: it calls mm for each, empty ones included,
    or bmm for batches, and these have its time in a trace. On a GPU it has kernels of its own.
    """
    name = str(packet).replace(".", "::", 1)
    if packet is aten._grouped_mm and args[0].device.type == "cpu":
        a, b = args[:2]
        if a.dim() == b.dim() == 3:
            return "aten::bmm", 1
        offsets = kwargs["offs"] if "offs" in kwargs else args[2]
        return "aten::mm", len(offsets)
    if packet is aten.convolution:
        backend = torch._C._select_conv_backend(*args, **kwargs)
        return _CONVOLUTIONS.get(backend.name, name), 1
    return _ATTENTIONS.get(name, name), 1


def _decompose(func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """What a composite operator does, by the code that runs outside of the counter too.

    torch has Python twins of some (matmul), which choose other operators: mm in place of bmm.
    """
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _COMPOSITE):
        return func._op_dk(_COMPOSITE, *args, **kwargs)
    return func.decompose(*args, **kwargs)


def _looks_heavy(name: str) -> bool:
    namespace, _, operator = name.partition(".")
    if namespace not in _OWN_NAMESPACES:
        return True
    return any(word in operator for word in _HEAVY) and not any(word in operator for word in _LIGHT)

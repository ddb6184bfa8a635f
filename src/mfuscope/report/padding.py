"""Why the hardware executes other FLOPs than the model asks for."""

import math

from mfuscope.flops.components import (
    ATTENTION,
    GLOBAL_ATTENTION,
    LM_HEAD,
    ROUTED_EXPERTS,
    ROUTER,
    WINDOWED_ATTENTION,
)
from mfuscope.metrics.counted import Work
from mfuscope.report.formats import plural

#: Padding factors closer to 1 need no reason.
_PLAIN = 0.03
#: How far a padding factor may be from the one that a reason gives.
_FITS = 0.15
#: The least rows of a tile.
_TILE = 8
_ATTENTION = (ATTENTION, GLOBAL_ATTENTION, WINDOWED_ATTENTION)


def padding_reason(stage: str, component: str, work: Work, copies: int) -> str:
    """Why the hardware executes other FLOPs than the model asks for; empty where it does not."""
    padding = work.padding
    if padding is None or abs(padding - 1) <= _PLAIN:
        return ""
    if not padding:
        what = "the router computes in fp32" if component == ROUTER else "other units compute it"
        return f"{what}: nothing on the tensor cores in the model's precision"
    if stage == "decode_step" or component == LM_HEAD:
        return _rows_reason(component, padding, copies)
    if padding < 1 and component == ATTENTION:
        return "the kernel skips tiles that the causal mask hides; model FLOPs count them"
    if padding < 1:
        return "a part runs outside the tensor cores, or in another precision"
    if component == ROUTED_EXPERTS:
        return "the rows of each expert are padded to whole tiles"
    if component in _ATTENTION:
        return "heads and sequences are padded to whole tiles"
    return "rows and columns are padded to whole tiles"


def _rows_reason(component: str, padding: float, copies: int) -> str:
    """Products with a row for each copy; attention and experts of a batch have other rows."""
    other = component == ATTENTION or (component == ROUTED_EXPERTS and copies > 1)
    whole = _TILE * math.ceil(copies / _TILE)
    if other or whole == copies or abs(padding * copies / whole - 1) > _FITS:
        return "not known"
    return f"products of {plural(copies, 'row')} run on tiles of {_TILE} rows"

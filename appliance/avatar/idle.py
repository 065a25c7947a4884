"""What an avatar does when nobody moves it: it eases to rest, and it blinks."""

from hashlib import blake2b

import numpy as np

from appliance.values import Float32

RELAX_NS = 500_000_000
"""How long a lost face takes to come to rest (the contract's half second)."""

_CELL_NS = 4_000_000_000  # people at rest blink about every 4 s (Bentivoglio et al. 1997)
_CLOSING_NS = 80_000_000
_OPENING_NS = 160_000_000


def relax(last: Float32, rest: Float32, gone_ns: int) -> Float32:
    """Ease from the last values to rest; ``gone_ns`` is the time since the face went."""
    way = min(max(gone_ns / RELAX_NS, 0.0), 1.0)
    eased = way * way * (3 - 2 * way)
    moved: Float32 = (last + (rest - last) * np.float32(eased)).astype(np.float32)
    return moved


def blink(at_ns: int, seed: str) -> float:
    """How far the lids are closed, 0..1, at one moment of an avatar on its own.

    A pure function of time: each cell of four seconds holds one blink whose moment is drawn from
    a hash of the cell and the seed, so that two avatars do not blink as one.
    """
    cell, within_ns = divmod(at_ns, _CELL_NS)
    draw = int.from_bytes(blake2b(f"{seed}/{cell}".encode(), digest_size=4).digest(), "big") / 2**32
    since_ns = within_ns - draw * (_CELL_NS - _CLOSING_NS - _OPENING_NS)
    if since_ns < 0:
        return 0.0
    if since_ns < _CLOSING_NS:
        return float(since_ns / _CLOSING_NS)
    return float(max(0.0, 1 - (since_ns - _CLOSING_NS) / _OPENING_NS))

"""Blocks of one size and one rate from whatever a source delivers, and when each was heard."""

import numpy as np
import numpy.typing as npt
import soxr

from appliance.values import Float32

RATE = 16_000  # samples a second of everything behind this module
BLOCK_SAMPLES = 160  # 10 ms: one step of a network that names visemes 100 times a second
BLOCK_NS = BLOCK_SAMPLES * 1_000_000_000 // RATE

_DRIFT_PPM = 200  # sound cards stray from the system's clock by at most about 100
_GAP_NS = 20_000_000  # a line this much too early means sound went missing unsaid
_GAP_WINDOW_NS = 2_000_000_000


class HearingClock:
    """When the last frame of each read was heard, on the clock that times the reads.

    A read can end late, when the scheduler is busy, but never before its sound was heard. So the
    earliest reads tell the truth, as in NTP's clock filter (RFC 5905, section 10), which trusts the
    samples of least delay: the stamps follow a line of one step a frame that no read may undercut,
    and that rises by 200 ppm at most to follow a slow sound card. Lateness of a read does not enter.

    What ALSA says of queued frames (``avail``) is not used: plug-ins report their whole buffer, and
    hardware moves in periods or USB packets.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._heard_ns: int | None = None
        self._least_late_ns = _GAP_WINDOW_NS
        self._window_ns = 0

    def heard_ns(self, frames: int, read_ns: int) -> int:
        """Stamp the last of ``frames`` more frames, which were in hand at ``read_ns``."""
        span_ns = frames * 1_000_000_000 // self._rate
        expected_ns = read_ns
        if self._heard_ns is not None:
            expected_ns = self._heard_ns + span_ns + span_ns * _DRIFT_PPM // 1_000_000
        heard_ns = min(expected_ns, read_ns) + self._gap_ns(span_ns, read_ns - expected_ns)
        self._heard_ns = heard_ns
        return heard_ns

    def _gap_ns(self, span_ns: int, late_ns: int) -> int:
        """How far the line must jump: the least lateness of two seconds, if no scheduler explains it."""
        self._least_late_ns = min(self._least_late_ns, late_ns)
        self._window_ns += span_ns
        if self._window_ns < _GAP_WINDOW_NS:
            return 0
        least_ns, self._least_late_ns, self._window_ns = self._least_late_ns, _GAP_WINDOW_NS, 0
        return least_ns if least_ns > _GAP_NS else 0


class BlockCutter:
    """Mixes to mono, brings to 16 kHz and cuts into blocks.

    ``quality`` is soxr's. Its filters deliver in bursts: up to 20 ms late with ``LQ``, 35 ms with
    ``HQ`` from 48 kHz. The stamps do not shift with it.
    """

    def __init__(self, rate: int, quality: str = "HQ") -> None:
        self._rate = rate
        self._resampler = soxr.ResampleStream(rate, RATE, 1, "float32", quality) if rate != RATE else None
        self._rest: Float32 = np.zeros(0, np.float32)
        self._fed = 0  # frames that came in
        self._cut = 0  # samples that went out
        self._last_ns = 0

    def cut(self, frames: Float32, heard_ns: int, last: bool = False) -> list[tuple[Float32, int]]:
        """Take frames x channels, the last heard at ``heard_ns``; return the blocks now whole, stamped.

        With ``last`` the rest follows, filled up with silence.
        """
        self._fed += len(frames)
        mono = np.ascontiguousarray(frames.mean(axis=1, dtype=np.float32))
        if self._resampler is not None:
            mono = self._resampler.resample_chunk(mono, last)
        samples = np.concatenate([self._rest, mono])
        if last:
            samples = np.pad(samples, (0, -len(samples) % BLOCK_SAMPLES))
        whole = len(samples) - len(samples) % BLOCK_SAMPLES
        self._rest = samples[whole:]
        return [
            (samples[start : start + BLOCK_SAMPLES], self._stamp(heard_ns)) for start in range(0, whole, BLOCK_SAMPLES)
        ]

    def _stamp(self, heard_ns: int) -> int:
        """When the end of the next block was heard: so much before the end of what came in."""
        self._cut += BLOCK_SAMPLES
        ahead = self._fed * RATE - self._cut * self._rate
        self._last_ns = max(heard_ns - ahead * 1_000_000_000 // (self._rate * RATE), self._last_ns + 1)
        return self._last_ns


def from_pcm(data: bytes, width: int, channels: int) -> Float32:
    """Little-endian PCM of 1 (unsigned), 2, 3 or 4 bytes a sample as frames x channels, -1..1."""
    if width == 1:
        samples = (np.frombuffer(data, np.uint8).astype(np.float32) - 128.0) / 128.0
    elif width == 3:
        samples = _from_24_bit(data)
    else:
        full_scale = float(1 << (8 * width - 1))
        samples = (np.frombuffer(data, f"<i{width}") / full_scale).astype(np.float32)
    return samples.reshape(-1, channels)


def _from_24_bit(data: bytes) -> Float32:
    wide: npt.NDArray[np.uint8] = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return (wide.view("<i4").reshape(-1) / float(1 << 31)).astype(np.float32)

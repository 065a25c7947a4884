import contextlib
import struct
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from appliance import settings
from appliance.errors import MicrophoneError
from appliance.listening.microphones import microphone_of
from appliance.listening.recordings import wav_blocks
from appliance.listening.sessions import SoundWriter
from appliance.values import Float32, Sound

Sine = Callable[..., npt.NDArray[np.float32]]


def write_wav(path: Path, frames: Float32, rate: int, width: int = 2) -> Path:
    """Write frames x channels, -1..1, as PCM of ``width`` bytes."""
    scaled = np.rint(frames.astype(np.float64) * (2 ** (8 * width - 1) - 1)).astype("<i8")
    if width == 1:
        scaled += 128
    pcm = np.ascontiguousarray(scaled).view(np.uint8).reshape(-1, 8)[:, :width]
    with wave.open(str(path), "wb") as wav:
        wav.setparams((frames.shape[1], width, rate, 0, "NONE", ""))
        wav.writeframes(pcm.tobytes())
    return path


def header(kind: int = 1, channels: int = 1, rate: int = 16000, bits: int = 16, size: int = 3200) -> bytes:
    align = channels * bits // 8
    fmt = struct.pack("<HHIIHH", kind, channels, rate, rate * align, align, bits)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + size)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + fmt
        + b"data"
        + struct.pack("<I", size)
    )


@pytest.mark.parametrize(
    ("rate", "width", "channels"),
    [
        (8000, 1, 1),
        (8000, 2, 1),
        (16000, 2, 1),
        (16000, 3, 2),
        (44100, 2, 2),
        (48000, 3, 1),
        (96000, 4, 3),
        (22050, 4, 1),
    ],
)
def test_every_kind_of_pcm_becomes_the_same_sound(
    tmp_path: Path, sine: Sine, rate: int, width: int, channels: int
) -> None:
    tone = np.repeat(sine(-6.0, rate=rate)[:, np.newaxis], channels, axis=1)

    blocks = list(wav_blocks(write_wav(tmp_path / "tone.wav", tone, rate, width)))

    assert {(block.shape, block.dtype) for block in blocks} == {((160,), np.dtype(np.float32))}
    assert len(blocks) == 100
    sound = np.concatenate(blocks)[800:-800]
    error = sound - sine(-6.0)[800:-800]
    assert np.abs(error).max() < (0.01 if width == 1 else 0.002)  # half a step of 8 bits is 0.004


def test_channels_are_mixed_in_equal_parts(tmp_path: Path, sine: Sine) -> None:
    left, right = sine(-6.0), np.zeros(16000, np.float32)

    sound = np.concatenate(list(wav_blocks(write_wav(tmp_path / "left.wav", np.stack([left, right], 1), 16000))))

    np.testing.assert_allclose(sound, left / 2, atol=1e-4)


def test_the_last_block_is_filled_up_with_silence(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "short.wav", np.full((200, 1), 0.5, np.float32), 16000)

    blocks = list(wav_blocks(path))

    assert len(blocks) == 2
    assert not blocks[1][40:].any()
    assert blocks[1][:40].all()


BAD = {
    "nothing": b"",
    "text": b"this is not sound, whatever its name says\n" * 9,
    "half a header": header()[:30],
    "cut short": header(size=3200) + bytes(1000),
    "no frames": header(size=0),
    "zero channels": header(channels=0) + bytes(3200),
    "zero rate": header(rate=0) + bytes(3200),
    "A-law": header(kind=6, bits=8) + bytes(3200),
    "floats": header(kind=3, bits=32) + bytes(3200),
    "64 bits": header(bits=64) + bytes(3200),
    "no data chunk": header()[:36],
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_one_line_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)

    with pytest.raises(MicrophoneError) as caught:
        list(wav_blocks(path))

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.wav", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(MicrophoneError, match=str(tmp_path)):
        list(wav_blocks(tmp_path / name))


@trials(max_examples=300, deadline=None)
@given(at=st.integers(0, 47), value=st.integers(0, 255), length=st.one_of(st.none(), st.integers(0, 700)))
def test_no_damage_to_a_file_is_ever_a_bug(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int, length: int | None
) -> None:
    content = bytearray(header(size=640) + bytes(range(256)) * 2 + bytes(128))
    content[at] = value
    path = tmp_path_factory.getbasetemp() / "damaged.wav"
    path.write_bytes(content[:length])
    blocks: list[Float32] = []

    with contextlib.suppress(MicrophoneError):
        blocks.extend(wav_blocks(path))

    assert all(block.shape == (160,) and np.isfinite(block).all() for block in blocks)


def test_a_file_plays_at_its_own_pace(tmp_path: Path, sine: Sine) -> None:
    path = write_wav(tmp_path / "tone.wav", sine(-6.0, 0.4)[:, np.newaxis], 16000)
    began_ns = time.monotonic_ns()

    arrivals = [(sound.heard_ns, time.monotonic_ns()) for sound in microphone_of(mic(f"file:{path}")).blocks()]

    heard_ns, in_hand_ns = np.array(arrivals).T
    assert len(heard_ns) == 40
    assert set(np.diff(heard_ns)) == {10_000_000}
    assert heard_ns[0] >= began_ns + 10_000_000
    assert np.all(in_hand_ns >= heard_ns)  # nothing is heard before its time


def test_a_looped_file_goes_on_without_a_seam(tmp_path: Path, sine: Sine) -> None:
    path = write_wav(tmp_path / "tone.wav", sine(-6.0, 0.05)[:, np.newaxis], 16000)  # 50 whole waves
    endless = microphone_of(mic(f"file:{path}", loop=True)).blocks()

    sounds = [sound for sound, _ in zip(endless, range(12), strict=False)]

    np.testing.assert_allclose(np.concatenate([sound.samples for sound in sounds]), sine(-6.0, 0.12), atol=1e-3)
    assert set(np.diff([sound.heard_ns for sound in sounds])) == {10_000_000}


@pytest.mark.parametrize("loop", [False, True])
def test_a_session_plays_with_the_pauses_it_had(tmp_path: Path, loop: bool) -> None:
    writer = SoundWriter(tmp_path, "mic0")
    for heard_ns in (1000, 10_001_000, 60_001_000, 70_001_000):
        writer.write(Sound("mic0", np.zeros(160, np.float32), heard_ns))
    writer.close()
    began_ns = time.monotonic_ns()

    playing = microphone_of(mic(f"session:{tmp_path}", loop=loop)).blocks()
    stamps = [sound.heard_ns for sound, _ in zip(playing, range(8), strict=False)]

    assert len(stamps) == (8 if loop else 4)
    assert list(np.diff(stamps[:4])) == [10_000_000, 50_000_000, 10_000_000]
    assert stamps[0] > began_ns
    assert np.all(np.diff(stamps) > 0)


def mic(source: str, loop: bool = False) -> settings.Microphone:
    return settings.Microphone("mic", source, loop=loop)

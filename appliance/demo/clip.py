"""The demo clip: one public-domain photograph, moved so that the truth of each frame is known."""

import hashlib
import shutil
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from appliance.demo.timeline import FPS, FRAMES, LENGTH_S, SPEECH_AT_S, Timeline, build_timeline
from appliance.demo.warp import ZOOM, FaceWarp, Field, Picture, coarse_positions, refine
from appliance.errors import ApplianceError

WIDTH, HEIGHT = 1280, 720
CODEC, VIDEO = "mp4v", "clip.mp4"
SPEECH_WAV, SPEECH_JSON = (Path(__file__).with_name(name) for name in ("speech.wav", "speech.json"))
MAKERS = (*(Path(__file__).with_name(name) for name in ("clip.py", "timeline.py", "warp.py")), SPEECH_WAV, SPEECH_JSON)
"""What the clip depends on beside the photograph: its cached name holds a hash of them all."""

STALE_S = 600.0

TRUTH = (
    "jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmile", "browUp", "roll_deg", "shift_x_px", "shift_y_px", "scale",
)  # fmt: skip

PHOTOGRAPH_PX = 512
OUTLINE = np.array(
    [
        (201, 23), (191, 31), (185, 38), (174, 43), (166, 50), (163, 51), (156, 58), (154, 64), (153, 74), (154, 75),
        (155, 98), (157, 104), (163, 110), (170, 117), (171, 124), (175, 130), (181, 132), (182, 141), (184, 148),
        (172, 148), (160, 150), (153, 151), (149, 153), (140, 158), (131, 167), (129, 171), (126, 176), (121, 183),
        (120, 198), (115, 199), (113, 205), (110, 206), (103, 215), (90, 227), (85, 230), (76, 235), (65, 246),
        (55, 262), (50, 271), (44, 282), (40, 294), (39, 306), (33, 322), (29, 336), (26, 342), (25, 374), (19, 390),
        (19, 418), (24, 432), (24, 461), (28, 494), (24, 511), (511, 511), (511, 408), (490, 408), (478, 384),
        (456, 362), (430, 349), (407, 345), (381, 345), (364, 348), (360, 344), (360, 333), (357, 323), (356, 302),
        (352, 286), (347, 282), (345, 272), (340, 262), (319, 243), (311, 239), (303, 233), (298, 217), (291, 208),
        (284, 200), (275, 190), (265, 180), (256, 174), (256, 161), (263, 149), (266, 137), (272, 136), (275, 134),
        (280, 127), (290, 117), (296, 107), (296, 103), (300, 92), (299, 72), (296, 66), (296, 58), (288, 43),
        (276, 31), (272, 30), (260, 24), (248, 18), (237, 16), (227, 16), (216, 20), (207, 20),
    ],
    np.float32,
)  # fmt: skip
"""The person's outline in the photograph, pixels."""

PIVOT_X, PIVOT_Y = 222.0, 186.0  # where the neck bends, in the photograph
FACE_CENTRE_Y, FACE_HALF_PX = 122.0, 48.0
AT_X_PX, AT_Y_PX = 640.0, 500.0  # where the pivot rests in the picture
UPRIGHT_DEG = 3.6  # turns the photographed head upright
BODY_SHARE = 0.45  # how much of the head's roll the shoulders follow
GRID = 8  # pixels between computed map positions; between them it is linear
NOISE_LEVEL = 2.0
NOISE_FIELDS = 7  # repeated; a prime, so that it does not beat with anything


def ensure_clip(directory: Path, photograph: Path, say: Callable[[str], None]) -> Path:
    """Return the folder of the rendered clip, rendering it if it is not there yet (some 20 s on one core).

    The folder holds ``clip.mp4`` (1280 x 720, 30 fps), ``voice.wav`` (16 kHz, mono, as long as the clip) and
    ``truth.npz``. Raises ApplianceError for an unreadable photograph or a full or read-only directory.
    """
    picture = read_photograph(photograph)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in (photograph, *MAKERS)))
    folder = directory / f"clip-{digest.hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    try:
        directory.mkdir(parents=True, exist_ok=True)
        sweep(directory)
        aside = Path(tempfile.mkdtemp(prefix=".clip-", dir=directory))
        try:
            render(aside, picture, say)
            aside.chmod(0o755)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        # Another process may have rendered the same clip meanwhile.
        if not folder.is_dir():
            raise ApplianceError(f"the demo clip cannot be written to {directory}: {error.strerror}") from error
    return folder


def sweep(directory: Path) -> None:
    """Remove what renders that were killed have left; one that still runs is younger than ``STALE_S``."""
    for aside in directory.glob(".clip-*"):
        if time.time() - aside.stat().st_mtime > STALE_S:
            shutil.rmtree(aside, ignore_errors=True)


def read_photograph(photograph: Path) -> Picture:
    """Return the photograph, 512 x 512 x 3, BGR."""
    picture: Picture | None = cv2.imread(str(photograph), cv2.IMREAD_COLOR) if photograph.is_file() else None
    if picture is None or picture.shape != (PHOTOGRAPH_PX, PHOTOGRAPH_PX, 3):
        found = "nothing readable" if picture is None else f"{picture.shape[1]} x {picture.shape[0]} pixels"
        raise ApplianceError(
            f"the demo photograph {photograph} must be a picture of 512 x 512 pixels, found {found}; "
            "delete it and start the demo again, which fetches it"
        )
    return picture


def render(folder: Path, photograph: Picture, say: Callable[[str], None]) -> None:
    """Write the three files of the clip into ``folder``."""
    timeline = build_timeline(SPEECH_JSON)
    write_voice(folder / "voice.wav")
    np.savez(folder / "truth.npz", allow_pickle=False, **truth(timeline))
    video = cv2.VideoWriter(str(folder / VIDEO), cv2.VideoWriter.fourcc(*CODEC), FPS, (WIDTH, HEIGHT))
    if not video.isOpened():
        raise ApplianceError(f"this OpenCV cannot write {CODEC} video; install opencv-python-headless from its wheel")
    try:
        for index, frame in enumerate(frames(photograph, timeline)):
            video.write(frame)
            if index % (FRAMES // 10) == 0:
                say(f"rendering the demo clip, once: {100 * index // FRAMES} %")
    finally:
        video.release()
    # A full disk does not make VideoWriter complain.
    written = int(cv2.VideoCapture(str(folder / VIDEO)).get(cv2.CAP_PROP_FRAME_COUNT))
    if written != FRAMES:
        raise ApplianceError(
            f"{written} of {FRAMES} frames of the demo clip were written to {folder}; is the disk full?"
        )


def truth(timeline: Timeline) -> dict[str, Field]:
    """Return what ``truth.npz`` holds: one value a frame, and the rate.

    ``visible`` is the part of the face's width inside the picture, 0..1; ``present`` whether it is above 0.
    """
    arrays = {name: np.asarray(getattr(timeline, name), np.float32) for name in TRUTH}
    half_px = FACE_HALF_PX * ZOOM * timeline.scale
    lean_px = (PIVOT_Y - FACE_CENTRE_Y) * ZOOM * timeline.scale * np.sin(np.deg2rad(timeline.roll_deg))
    centre_px = AT_X_PX + timeline.shift_x_px - lean_px
    inside_px = np.minimum(centre_px + half_px, WIDTH) - np.maximum(centre_px - half_px, 0)
    arrays["visible"] = np.clip(np.round(inside_px / (2 * half_px), 4), 0, 1).astype(np.float32)
    arrays["present"] = (arrays["visible"] > 0).astype(np.float32)
    arrays["fps"] = np.array(FPS, np.float32)
    return arrays


def frames(photograph: Picture, timeline: Timeline) -> Iterator[Picture]:
    """Yield each picture of the clip, height x width x 3, BGR."""
    texture = enlarge(photograph)
    alpha = person_alpha()
    warp = FaceWarp(texture)
    background = make_background(photograph)
    random = np.random.default_rng(7)
    noise = [
        np.clip(random.normal(6, NOISE_LEVEL, (HEIGHT, WIDTH, 1)), 0, 20).astype(np.uint8).repeat(3, axis=2)
        for _ in range(NOISE_FIELDS)
    ]
    for index in range(len(timeline.scale)):
        channels = timeline.at(index)
        texture[warp.box] = warp(channels)
        place = pose_map(channels)
        person = cv2.remap(texture, place, None, cv2.INTER_LINEAR)
        opacity = cv2.remap(alpha, place, None, cv2.INTER_LINEAR)
        frame = cv2.blendLinear(person, background, opacity, 1 - opacity)
        yield cv2.add(frame, noise[index % NOISE_FIELDS])


def enlarge(photograph: Picture) -> Picture:
    """Return the photograph ``ZOOM`` times as large, lightly sharpened."""
    size = round(PHOTOGRAPH_PX * ZOOM)
    large: Picture = cv2.resize(photograph, (size, size), interpolation=cv2.INTER_CUBIC)
    sharp: Picture = cv2.addWeighted(large, 1.5, cv2.GaussianBlur(large, (0, 0), 2.2), -0.5, -6)
    return sharp


def person_alpha() -> Field:
    """Return the person's opacity 0..1 in the enlarged photograph, with a soft edge."""
    size = round(PHOTOGRAPH_PX * ZOOM)
    mask = np.zeros((size, size), np.uint8)
    outline = np.where(OUTLINE >= PHOTOGRAPH_PX - 1, PHOTOGRAPH_PX + 8, OUTLINE) * ZOOM
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    # A wide blur made steep again rounds the corners of the outline.
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 4.0)
    opacity: Field = np.clip((soft - 0.5) * 2.4 + 0.35, 0, 1).astype(np.float32)
    return opacity


def make_background(photograph: Picture) -> Picture:
    """Return a booth-like backdrop: the photograph's own studio grey, lit from the side, darker at the edges."""
    studio = photograph[10:60, 312:385].reshape(-1, 3).mean(axis=0)
    x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
    light = 0.62 + 0.5 * np.exp(-((x + 0.05) ** 2 / 0.55 + (y + 0.3) ** 2 / 0.9))
    cool, warm = np.array([40, 14, -10]), np.array([-4, -10, 14])
    tint = np.exp(-((x + 1) ** 2) / 0.35)[..., None] * cool + np.exp(-((x - 1) ** 2) / 0.35)[..., None] * warm
    backdrop: Picture = np.clip(studio * light[..., None] * 0.86 + tint, 0, 240).astype(np.uint8)
    return backdrop


def pose_map(channels: dict[str, float]) -> Field:
    """Return where in the figure's texture each pixel of the picture comes from.

    The head rolls about the neck, the shoulders follow by ``BODY_SHARE``; between them the turn fades over the collar.
    """
    x, y = coarse_positions(WIDTH, HEIGHT, GRID)
    unit = ZOOM * channels["scale"]
    x = (x - AT_X_PX - channels["shift_x_px"]) / unit
    y = (y - AT_Y_PX - channels["shift_y_px"]) / unit
    fade = np.clip((y + 6) / 120, 0, 1)
    share = 1 - (1 - BODY_SHARE) * fade * fade * (3 - 2 * fade)
    angle = np.deg2rad(channels["roll_deg"] * share + UPRIGHT_DEG * (1 - fade))
    sine, cosine = np.sin(angle), np.cos(angle)
    source = np.dstack([cosine * x - sine * y + PIVOT_X, sine * x + cosine * y + PIVOT_Y]).astype(
        np.float32
    ) * np.float32(ZOOM)
    return refine(source, WIDTH, HEIGHT, GRID)


def write_voice(path: Path) -> None:
    """Write the speech on the clip's timeline, silence elsewhere."""
    with wave.open(str(SPEECH_WAV), "rb") as file:
        rate_hz = file.getframerate()
        speech = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    samples = np.zeros(round(LENGTH_S * rate_hz), "<i2")
    start = round(SPEECH_AT_S * rate_hz)
    samples[start : start + len(speech)] = speech
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(samples.tobytes())

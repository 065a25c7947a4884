"""What the program shows over time: how still a still face is, how late a moving one, which blinks are seen.

Weights go through ``appliance.avatar.compose``, smoothing and all, at 30 pictures a second, without a person's
neutral, which would hide what is small.
"""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from appliance import settings
from appliance.avatar.channels import BLENDSHAPES
from appliance.avatar.compose import Memory, compose
from appliance.avatar.neutral import Neutral
from appliance.face.gaze import read_gaze
from appliance.face.headpose import head_frame
from appliance.face.landmarks import LandmarkReader
from appliance.face.regions import region_from_landmarks
from appliance.values import Expression, Face, Float32, Gaze, HeadPose, Image, Landmarks, TrackingState

STEP_NS = 33_333_333
STILLS_A_CLIP, STILL_PICTURES, SETTLING = 4, 60, 10
NOISE, SHAKE_PX = 2.5, 0.3  # standard deviations: of 255, and of the picture's shift
FARTHEST = 6  # pictures, of a lag
MOVES = 0.02  # the standard deviation of a shape that moves
BLINKS, BLINK_WITHIN = 0.5, 2  # a blink's weight; pictures between two sights of the same one

_NO_REST = Neutral(0, np.concatenate([np.full(52, -0.03), np.zeros(4)]).astype(np.float32), learnt_s=1.0)
"""A neutral that takes nothing away, ``neutral.calibrate``'s own allowance included."""


def published(weights: Float32, points_px: Float32, options: settings.Avatar) -> Float32:
    """What the program shows, n x 52, of n pictures in a row: weights n x 52 as read, landmarks n x 478 x 3."""
    memory = Memory(neutral=_NO_REST)
    shown = np.zeros_like(weights)
    for number, (read, gaze) in enumerate(zip(weights, gazes(points_px), strict=True)):
        expression = Expression(read, HeadPose(), gaze)
        # a face without confidence leaves the neutral as it is
        face = Face("cam0", 0, "", TrackingState.TRACKING, 0, 0.0, (number + 1) * STEP_NS, expression)
        state, memory = compose(memory, face, None, options)
        shown[number] = state.blendshapes
    return shown


def gazes(points_px: Float32) -> Iterator[Gaze]:
    """Where the eyes look in pictures in a row."""
    gaze: Gaze | None = None
    for points in points_px:
        gaze = read_gaze(points, head_frame(points), gaze)
        yield gaze


def stills(clip: npt.NDArray[np.int64]) -> list[int]:
    """Which pictures of the clips stand for still faces."""
    rows = [np.flatnonzero(clip == number) for number in np.unique(clip)]
    return [int(row[len(row) * (part + 1) // (STILLS_A_CLIP + 1)]) for row in rows for part in range(STILLS_A_CLIP)]


def shaken(picture: Image, rng: np.random.Generator) -> Iterator[Image]:
    """One picture (BGR) as a camera that stands almost still would take it again and again."""
    height_px, width_px = picture.shape[:2]
    for _ in range(SETTLING + STILL_PICTURES):
        shift = np.array([[1, 0, rng.normal(0, SHAKE_PX)], [0, 1, rng.normal(0, SHAKE_PX)]])
        moved = cv2.warpAffine(
            picture, shift, (width_px, height_px), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        yield np.clip(np.rint(moved + rng.normal(0, NOISE, picture.shape)), 0, 255).astype(np.uint8)


def follow(reader: LandmarkReader, pictures: list[Image], points_px: Float32) -> Float32:
    """Landmarks of pictures in a row, n x 478 x 3, each looked for where the last were; first at ``points_px``."""
    region = region_from_landmarks(Landmarks(points_px, 1.0))
    found = np.zeros((len(pictures), 478, 3), np.float32)
    for picture, points in zip(pictures, found, strict=True):
        read = reader.read([(picture, region)])[0]
        points[:] = read.points_px
        region = region_from_landmarks(read)
    return found


def unrest(weights: Float32) -> Float32:
    """The standard deviation of each shape over pictures of a still face, once the filters have settled."""
    deviation: Float32 = weights[SETTLING:].std(0)
    return deviation


def lags(smoothed: Float32, raw: Float32, clip: npt.NDArray[np.int64]) -> Float32:
    """By how many pictures each shape comes late, of n x 52 in clips; NaN where it never moves.

    The shift at which the two correlate best, between pictures by a parabola through the best and its neighbours.
    """
    shifts = range(-FARTHEST, FARTHEST + 1)
    shared, late, early = np.zeros((len(shifts), 52)), np.zeros((len(shifts), 52)), np.zeros(52)
    for number in np.unique(clip):
        one, other = smoothed[clip == number], raw[clip == number]
        middle = _about_mean(other[FARTHEST : len(other) - FARTHEST])
        early += (middle**2).sum(0)
        for row, shift in enumerate(shifts):
            moved = _about_mean(one[FARTHEST + shift : len(one) - FARTHEST + shift])
            shared[row] += (moved * middle).sum(0)
            late[row] += (moved**2).sum(0)
    alike = shared / np.sqrt(np.maximum(late * early, 1e-12))
    best = np.clip(alike.argmax(0), 1, len(shifts) - 2)
    before, top, after = (np.take_along_axis(alike, best[None] + step, 0)[0] for step in (-1, 0, 1))
    between = 0.5 * (before - after) / np.minimum(before - 2 * top + after, -1e-12)
    return np.where(early / len(clip) < MOVES**2, np.nan, best - FARTHEST + between).astype(np.float32)


def _about_mean(values: Float32) -> npt.NDArray[np.float64]:
    return np.asarray(values - values.mean(0) if len(values) else values, np.float64)


def blinks(weights: Float32, clip: npt.NDArray[np.int64]) -> list[int]:
    """The pictures, of n x 52 in clips, at which both eyes' mean blink is at its height."""
    shut = lids(weights)
    found: list[int] = []
    for index in np.flatnonzero(shut > BLINKS).tolist():
        if found and clip[index] == clip[found[-1]] and (shut[found[-1] : index] > BLINKS - 0.1).all():
            found[-1] = index if shut[index] > shut[found[-1]] else found[-1]
        else:
            found.append(index)
    return found


def seen(peaks: list[int], weights: Float32, clip: npt.NDArray[np.int64]) -> int:
    """How many of these blinks are blinks in ``weights`` too, two pictures early or late at most."""
    shut = lids(weights) > BLINKS
    near = (range(max(peak - BLINK_WITHIN, 0), min(peak + BLINK_WITHIN + 1, len(shut))) for peak in peaks)
    return sum(
        any(shut[index] and clip[index] == clip[peak] for index in nearby)
        for peak, nearby in zip(peaks, near, strict=True)
    )


def lids(weights: Float32) -> Float32:
    """How far both eyes are shut, on the mean."""
    both = [BLENDSHAPES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
    shut: Float32 = weights[:, both].mean(1)
    return shut


def in_clips(
    weights: Float32, points_px: Float32, clip: npt.NDArray[np.int64], options: settings.Avatar
) -> tuple[Float32, Float32]:
    """What the program shows of each clip, smoothed and as read."""
    ways = (options, replace(options, smoothing="none"))
    shown = np.zeros((2, *weights.shape), np.float32)
    for number in np.unique(clip):
        rows = clip == number
        for way, chosen in zip(shown, ways, strict=True):
            way[rows] = published(weights[rows], points_px[rows], chosen)
    return shown[0], shown[1]

"""Directions: from the wire's conventions to those of other programs, and to a mirror image.

The wire's face has +X to the person's own left, +Y up, +Z out of the face, right-handed, as ARKit's
``ARFaceAnchor`` has: unmirrored, and identity looks straight into the camera.
"""

import math
from dataclasses import replace

from appliance.avatar.channels import OTHER_SIDE
from appliance.publish.wire import WireFrame
from appliance.values import Gaze, HeadPose, Point, TrackingState

Quaternion = tuple[float, float, float, float]

FOUND = (TrackingState.ACQUIRING, TrackingState.TRACKING, TrackingState.VOICE)
"""States in which somebody moves the avatar; in the others it rests or lives on its own."""

_MIRRORED = list(OTHER_SIDE)


def mirrored(frame: WireFrame) -> WireFrame:
    """Return what a mirror shows: left and right change places, turns and tilts go the other way."""
    x, y, z, w = frame.head.rotation
    px, py, pz = frame.head.position_m
    gaze = Gaze(_flipped(frame.gaze.right_deg), _flipped(frame.gaze.left_deg))
    head = HeadPose((x, -y, -z, w), (-px, py, pz))
    return replace(frame, head=head, gaze=gaze, blendshapes=frame.blendshapes[_MIRRORED])


def angles_deg(rotation: Quaternion) -> tuple[float, float, float]:
    """Return a rotation as pitch, yaw and roll in degrees about the face's own X, Y and Z, right-handed.

    Applied yaw first, then pitch, then roll (intrinsic Y-X-Z), as Unity's and Unreal's angles are. So + is:
    looks down; turns to the person's left; tilts to the person's right.
    """
    x, y, z, w = rotation
    sin_pitch = min(1.0, max(-1.0, 2 * (w * x - y * z)))
    pitch = math.asin(sin_pitch)
    yaw = math.atan2(2 * (x * z + w * y), 1 - 2 * (x * x + y * y))
    roll = math.atan2(2 * (x * y + w * z), 1 - 2 * (x * x + z * z))
    return math.degrees(pitch), math.degrees(yaw), math.degrees(roll)


def eye_angles_deg(gaze_deg: Point) -> tuple[float, float]:
    """Return an eye's pitch and yaw as ``angles_deg`` has them: + looks down, + turns to the person's left."""
    yaw_deg, pitch_deg = gaze_deg
    return 0.0 - pitch_deg, yaw_deg  # never -0.0, which some formats spell out


def in_unity(rotation: Quaternion) -> Quaternion:
    """Return a face's rotation in Unity's axes, left-handed with +X to the person's own right."""
    x, y, z, w = rotation
    return (x, -y, -z, w)


def eye_rotation(gaze_deg: Point) -> Quaternion:
    """Return an eye's rotation relative to the head, in the face's own right-handed axes."""
    half_pitch, half_yaw = (math.radians(angle) / 2 for angle in eye_angles_deg(gaze_deg))
    sp, cp, sy, cy = math.sin(half_pitch), math.cos(half_pitch), math.sin(half_yaw), math.cos(half_yaw)
    return (cy * sp, sy * cp, -sy * sp, cy * cp)


def _flipped(gaze_deg: Point) -> Point:
    return (0.0 - gaze_deg[0], gaze_deg[1])

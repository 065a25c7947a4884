"""Small avatars' files, as exporters write them: a ball for a head, balls for eyes, targets that move parts of it."""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from appliance.avatar.channels import BLENDSHAPES

Floats = npt.NDArray[np.float32]
Kind = Literal["arkit", "vrm0", "vrm1"]

ROWS, COLUMNS = 25, 40
EYE, MOUTH, BROW = (0.35, 0.2), (0.0, -0.45), (0.35, 0.5)
PRESETS = ("aa", "ih", "ou", "ee", "oh", "blinkLeft", "blinkRight", "happy")
OLDER = ("a", "i", "u", "e", "o", "blink_l", "blink_r", "joy")
_FLOAT, _INT, _BYTE = 5126, 5125, 5121
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class Binary:
    """A .glb in the making."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, values: npt.NDArray[Any]) -> int:
        self.body.extend(bytes(-len(self.body) % 4))
        self.views.append({"buffer": 0, "byteOffset": len(self.body), "byteLength": values.nbytes})
        self.body.extend(values.tobytes())
        return len(self.views) - 1

    def add(self, values: npt.NDArray[Any], component: int) -> int:
        flat = values.reshape(len(values), -1)
        self.accessors.append(
            {
                "bufferView": self.view(values),
                "componentType": component,
                "count": len(flat),
                "type": _TYPES[flat.shape[1]],
                "min": flat.min(0).tolist(),
                "max": flat.max(0).tolist(),
            }
        )
        return len(self.accessors) - 1

    def add_sparse(self, values: Floats) -> int:
        """Only the rows that are not zero, as exporters store targets."""
        rows = np.flatnonzero(values.any(1)).astype(np.uint32)
        sparse = {
            "count": len(rows),
            "indices": {"bufferView": self.view(rows), "componentType": _INT},
            "values": {"bufferView": self.view(values[rows])},
        }
        self.accessors.append({"componentType": _FLOAT, "count": len(values), "type": "VEC3", "sparse": sparse})
        return len(self.accessors) - 1

    def whole(self, document: Mapping[str, Any]) -> bytes:
        parts = {"bufferViews": self.views, "accessors": self.accessors, "buffers": [{"byteLength": len(self.body)}]}
        text = json.dumps({"asset": {"version": "2.0"}, "scene": 0, **document, **parts}).encode()
        text += b" " * (-len(text) % 4)
        body = bytes(self.body) + bytes(-len(self.body) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(body), 0x004E4942) + body
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def ball(radius: float, centre: Sequence[float]) -> tuple[Floats, npt.NDArray[np.uint32]]:
    """Corners and triangles."""
    up, round_ = np.meshgrid(np.linspace(0, np.pi, ROWS), np.linspace(0, 2 * np.pi, COLUMNS), indexing="ij")
    unit = np.stack([np.sin(up) * np.sin(round_), np.cos(up), np.sin(up) * np.cos(round_)], -1).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(ROWS - 1), np.arange(COLUMNS - 1), indexing="ij")
    a = (row * COLUMNS + column).ravel()
    quads = np.stack([a, a + COLUMNS, a + 1, a + 1, a + COLUMNS, a + COLUMNS + 1], 1)
    return (unit * radius + centre).astype(np.float32), quads.ravel().astype(np.uint32)


def shift(shape: str, points: Floats) -> Floats:
    """What a shape of ours moves: a bump where the face has that part."""
    part = BROW if shape.startswith("brow") else EYE if shape.startswith(("eye", "blink", "look")) else MOUTH
    side = -1.0 if shape.endswith("Right") else 1.0
    away = np.hypot(points[:, 0] - side * part[0], points[:, 1] - part[1]) + 10 * (points[:, 2] < 0)
    bump = np.where(away < 0.3, 0.25 * (1 - away / 0.3), 0)
    return np.outer(bump, (0, -1, 1)).astype(np.float32)


def head(kind: Kind = "arkit", called: str = "{}", *, bones: bool = True) -> bytes:
    """A file: ``arkit`` with all shapes, called as told; ``vrm0`` and ``vrm1`` with the presets of VRM alone."""
    binary = Binary()
    shapes = list(BLENDSHAPES) if kind == "arkit" else list(PRESETS)
    points, corners = ball(1, (0, 0, 0))
    facing = -1 if kind == "vrm0" else 1  # VRM 0 looks the other way
    about = np.array([facing, 1, facing], np.float32)
    turned = points * about
    attributes = {"POSITION": binary.add(turned, _FLOAT), "NORMAL": binary.add(turned, _FLOAT)}
    if bones:
        attributes["JOINTS_0"] = binary.add(np.tile(np.array([1, 0, 0, 0], np.uint8), (len(points), 1)), _BYTE)
        attributes["WEIGHTS_0"] = binary.add(np.tile(np.array([1, 0, 0, 0], np.float32), (len(points), 1)), _FLOAT)
    moves = [shift(each, points) * about for each in shapes]
    targets = [
        {"POSITION": binary.add_sparse(move), "NORMAL": binary.add_sparse(8 * move[:, (1, 0, 2)])} for move in moves
    ]
    skin = {"attributes": attributes, "indices": binary.add(corners, _INT), "material": 0, "targets": targets}
    eye, eye_corners = ball(0.12, (0, 0, 0))
    pupil, pupil_corners = ball(0.06, (0, 0, 0.09 * facing))
    white = {
        "attributes": {"POSITION": binary.add(eye, _FLOAT)},
        "indices": binary.add(eye_corners, _INT),
        "material": 1,
    }
    black = {
        "attributes": {"POSITION": binary.add(pupil, _FLOAT)},
        "indices": binary.add(pupil_corners, _INT),
        "material": 2,
    }
    document: dict[str, Any] = {
        "scenes": [{"nodes": [0, 4] if bones else [4]}],
        "nodes": _nodes(facing, bones),
        "meshes": [
            {"primitives": [skin], "extras": {"targetNames": [called.format(each) for each in shapes]}},
            {"primitives": [white, black]},
        ],
        "materials": [_material(0.8, 0.5, 0.4), _material(0.9, 0.9, 0.9), _material(0.02, 0.02, 0.05)],
    }
    if bones:
        binds = np.tile(np.eye(4, dtype=np.float32).ravel(), (2, 1))
        binds[:, 13] = (1.5, 0.9)
        document["skins"] = [{"joints": [0, 1], "inverseBindMatrices": binary.add(binds, _FLOAT)}]
    return binary.whole(document | _vrm(kind, shapes))


def _nodes(facing: int, bones: bool) -> list[dict[str, Any]]:
    eyes = [
        {"name": f"{side}Eye", "mesh": 1, "translation": [x * facing, EYE[1] + 0.9 * bones, 0.92 * facing]}
        for side, x in (("Left", EYE[0]), ("Right", -EYE[0]))
    ]
    neck = {"name": "Neck", "children": [1], "translation": [0, -1.5, 0]}
    head_bone = {"name": "Head", "children": [2, 3], "translation": [0, 0.6, 0]}
    face: dict[str, Any] = {"name": "face", "mesh": 0}
    return [neck, head_bone, *eyes, face | ({"skin": 0} if bones else {"children": [2, 3]})]


def _material(*colour: float) -> dict[str, Any]:
    return {"pbrMetallicRoughness": {"baseColorFactor": [*colour, 1], "roughnessFactor": 0.6}, "doubleSided": True}


def _vrm(kind: Kind, shapes: Sequence[str]) -> dict[str, Any]:
    human = {"neck": 0, "head": 1, "leftEye": 2, "rightEye": 3}
    if kind == "vrm0":
        older = dict(zip(shapes, OLDER, strict=True))
        groups = [
            {"name": older[each], "presetName": older[each], "binds": [{"mesh": 0, "index": i, "weight": 100}]}
            for i, each in enumerate(shapes)
        ]
        bones = [{"bone": bone, "node": node} for bone, node in human.items()]
        return {
            "extensionsUsed": ["VRM"],
            "extensions": {
                "VRM": {"humanoid": {"humanBones": bones}, "blendShapeMaster": {"blendShapeGroups": groups}}
            },
        }
    if kind == "vrm1":
        preset = {each: {"morphTargetBinds": [{"node": 4, "index": i, "weight": 1}]} for i, each in enumerate(shapes)}
        nodes = {bone: {"node": node} for bone, node in human.items()}
        newer = {"humanoid": {"humanBones": nodes}, "expressions": {"preset": preset}}
        return {"extensionsUsed": ["VRMC_vrm"], "extensions": {"VRMC_vrm": newer}}
    return {}

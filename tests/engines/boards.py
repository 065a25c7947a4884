"""Machines and engines that tests make up."""

import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

from engines.board import Board
from engines.store import Key, Record, Store, plan_name

ORIN = Board("10.3.0", "Orin (nvgpu)", "8.7", "36.4.3", "MAXN_SUPER")
UPDATED = replace(ORIN, tensorrt="10.16.0", l4t="39.0.0")


def key(model: str = "face_landmarks", precision: str = "int8", board: Board = ORIN, calibration: str = "c1") -> Key:
    return Key(model, precision, "0123456789abcdef", "manifest", calibration, "batch 1 2..8; level 3", board)


def put(store: Store, of: Key, plan: bytes = b"a plan", built_utc_s: float = 1.0) -> Record:
    sha256 = hashlib.sha256(plan).hexdigest()
    name, on = plan_name(of, sha256), "32 held-out inputs"
    record = Record(of, name, sha256, len(plan), built_utc_s, 90.0, "gpu", on, {"x": 0.1})
    with store.locked(print):
        store.put(record, plan)
    return record


def driver(folder: Path, name: str = "Orin (nvgpu)", capability: tuple[int, int] = (8, 7), gpus: int = 1) -> str:
    """A library that answers as the CUDA driver of some machine would, compiled for this one."""
    source, library = folder / "driver.c", folder / "libcuda.so.1"
    source.write_text(f"""
#include <string.h>
int cuInit(unsigned flags) {{ return {0 if gpus else 100}; }}
int cuDeviceGet(int *device, int ordinal) {{ *device = 0; return 0; }}
int cuDeviceGetName(char *name, int size, int device) {{ strncpy(name, "{name}", size); return 0; }}
int cuDeviceGetAttribute(int *value, int attribute, int device) {{
  *value = attribute == 75 ? {capability[0]} : attribute == 76 ? {capability[1]} : attribute == 18;
  return 0;
}}
""")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return str(library)

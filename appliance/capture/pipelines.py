"""Cameras that others decode for us: RTSP through FFmpeg, and any GStreamer pipeline (CSI cameras)."""

import os
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import cv2
import numpy as np

from appliance.capture.cameras import Picture, without_password
from appliance.capture.pictures import one_decoding_thread
from appliance.errors import CameraError

_OPEN_LIMIT_MS = 5000
_READ_LIMIT_MS = 2000
_NEWEST_ONLY = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"


class RTSPCamera:
    """A network camera, over TCP: a lost packet delays a picture and never tears it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def pictures(self) -> Iterator[Picture]:
        """Yield pictures as they arrive, until the stream stops."""
        # The one way to hand FFmpeg its options through OpenCV; this process has no other use for it.
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = (
            "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay|reorder_queue_size;0|max_delay;0"
        )
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_LIMIT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_LIMIT_MS]
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, [*limits, *one_decoding_thread()])
        shown = without_password(self._url)
        if not capture.isOpened():
            address = urlsplit(self._url).hostname
            raise CameraError(f"{shown} cannot be opened; look at its path, user and password, and at: ping {address}")
        yield from _until_it_stops(capture, shown)


class GStreamerCamera:
    """A GStreamer pipeline; without an ``appsink`` of its own it gets one that keeps only the newest picture."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline if "appsink" in pipeline else f"{pipeline} ! {_NEWEST_ONLY}"

    def pictures(self) -> Iterator[Picture]:
        """Yield pictures as the pipeline delivers them, until it stops."""
        if cv2.CAP_GSTREAMER not in cv2.videoio_registry.getBackends():
            raise CameraError(
                "gstreamer: sources need an OpenCV with GStreamer, and this one has none; "
                "use JetPack's or the distribution's python3-opencv"
            )
        capture = cv2.VideoCapture(self._pipeline, cv2.CAP_GSTREAMER)
        if not capture.isOpened():  # the pipeline is not shown: it may hold a password
            raise CameraError("GStreamer cannot run the pipeline of camera.source; try it with gst-launch-1.0")
        yield from _until_it_stops(capture, "the GStreamer pipeline")


def _until_it_stops(capture: cv2.VideoCapture, source: str) -> Iterator[Picture]:
    count = 0
    try:
        while True:
            taken, image = capture.read()
            if not taken:
                raise CameraError(f"{source} stopped giving pictures after picture {count}")
            count += 1
            yield np.asarray(image), time.monotonic_ns()
    finally:
        capture.release()

"""Reads the 478 points of each face from its square of a picture."""

from collections.abc import Sequence

import numpy as np

from appliance.face import regions
from appliance.values import Image, Landmarks, Region
from engines import manifest
from engines.preprocess import sample
from engines.runners import Runner

MODEL = "face_landmarks"


class LandmarkReader:
    """A landmark network of 478 points, called once for all faces of all cameras."""

    def __init__(self, runner: Runner, model: str = MODEL) -> None:
        self._runner = runner
        self._preprocessing = manifest.picture_preprocessing(model)
        size = self._preprocessing.size_px
        self._batch = np.zeros((1, 3, size, size), np.float32)

    def read(self, picture_regions: Sequence[tuple[Image, Region]]) -> list[Landmarks]:
        """Read every face, each from its own region of its own picture."""
        count = len(picture_regions)
        if not count:
            return []
        if count > len(self._batch):  # grows to the most faces ever seen at once, then stays
            self._batch = np.zeros((count, *self._batch.shape[1:]), np.float32)
        size = self._preprocessing.size_px
        for (image, region), target in zip(picture_regions, self._batch, strict=False):
            sample(image, regions.matrix(region, size), self._preprocessing, target)
        outputs = self._runner({"image": self._batch[:count]})
        return [
            Landmarks(regions.points_in_picture(points, region, size), float(presence[0]))
            for (_, region), points, presence in zip(
                picture_regions, outputs["landmarks"], outputs["presence"], strict=True
            )
        ]

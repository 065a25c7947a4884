"""Reads the 478 points of each face from its square of a picture."""

from collections.abc import Sequence

from appliance.face import regions
from appliance.values import Image, Landmarks, Region
from engines import manifest
from engines.runners import Runner
from engines.squares import SquareReader

MODEL = "face_landmarks"
PICTURE_INPUT = "image"


class LandmarkReader:
    """A landmark network of 478 points, called once for all faces of all cameras."""

    def __init__(self, runner: Runner, model: str = MODEL) -> None:
        preprocessing = manifest.picture_preprocessing(model)
        self._size_px = preprocessing.size_px
        self._squares = SquareReader(runner, PICTURE_INPUT, preprocessing)

    def read(self, picture_regions: Sequence[tuple[Image, Region]]) -> list[Landmarks]:
        """Read every face, each from its own region of its own picture."""
        if not picture_regions:
            return []
        cuts = [(image, regions.matrix(region, self._size_px)) for image, region in picture_regions]
        outputs = self._squares(cuts, {})
        return [
            Landmarks(regions.points_in_picture(points, region, self._size_px), float(presence[0]))
            for (_, region), points, presence in zip(
                picture_regions, outputs["landmarks"], outputs["presence"], strict=True
            )
        ]

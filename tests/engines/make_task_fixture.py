"""Makes ``original_task.npz``: what MediaPipe's Face Landmarker reads in pictures of one photograph, warped.

    python tests/engines/make_task_fixture.py CLIP TASK_FILE

Run it in an environment of its own, Python 3.11 with mediapipe 0.10.21, on the demonstration's ``clip.mp4``: the
photograph, NASA's of Eileen Collins and public domain, with its face moved. Frames are cut out, turned and mirrored,
kept as JPEG, and read as MediaPipe reads single pictures: nothing is tracked or smoothed.
"""

import sys
from pathlib import Path

import cv2
import mediapipe
import numpy as np

FRAMES = 16  # of the clip; in some the face is covered, and they are left out
WIDTH, HEIGHT = 320, 256
STEPS_PER_PX = 32  # landmarks are stored in whole steps


def cut(frame: np.ndarray, index: int) -> np.ndarray:
    """A part of the frame around its middle, differently placed, sized and turned each time; some mirrored."""
    height, width = frame.shape[:2]
    scale = HEIGHT / height * (1.1 + 0.12 * (index % 5))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 8.0 * (index % 7 - 3), scale)
    matrix[:, 2] += (WIDTH / 2 - width / 2 + 5 * (index % 4), HEIGHT / 2 - height / 2 - 4 * (index % 3))
    picture = cv2.warpAffine(frame, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(picture[:, ::-1]) if index % 3 == 1 else picture


def frames(clip: Path) -> list[np.ndarray]:
    video = cv2.VideoCapture(str(clip))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    chosen = set(np.linspace(0, count - 1, FRAMES).astype(int).tolist())
    taken = []
    for index in range(count):
        _, frame = video.read()
        if index in chosen:
            taken.append(frame)
    return taken


def landmarker(task_file: Path) -> mediapipe.tasks.vision.FaceLandmarker:
    options = mediapipe.tasks.vision.FaceLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(task_file)),
        output_face_blendshapes=True,
    )
    return mediapipe.tasks.vision.FaceLandmarker.create_from_options(options)


def main(clip: Path, task_file: Path) -> None:
    pictures: list[np.ndarray] = []
    landmarks, blendshapes = [], []
    names: list[str] = []
    with landmarker(task_file) as original:
        for index, frame in enumerate(frames(clip)):
            encoded = cv2.imencode(".jpg", cut(frame, index), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
            seen = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            found = original.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=seen))
            if not found.face_landmarks:
                continue
            pictures.append(encoded)
            (points,), (categories,) = found.face_landmarks, found.face_blendshapes
            positions = [(point.x * WIDTH, point.y * HEIGHT, point.z * WIDTH) for point in points]
            landmarks.append(np.round(np.array(positions) * STEPS_PER_PX).astype(np.int16))
            blendshapes.append([category.score for category in categories])
            names = [category.category_name for category in categories]
    np.savez_compressed(
        Path(__file__).with_name("original_task.npz"),
        landmarks=np.stack(landmarks),
        blendshapes=np.array(blendshapes, np.float32),
        names=np.array(names),
        **{f"picture_{index}_jpeg": picture for index, picture in enumerate(pictures)},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

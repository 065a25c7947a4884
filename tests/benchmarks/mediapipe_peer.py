"""MediaPipe's side of ``against_mediapipe.py``; runs in an environment that has mediapipe 0.10.21 and nothing of ours.

``mediapipe_peer.py CLIP``: each line read is a number of frames to process; the answer on standard output is
1435 float64 a frame: the CPU seconds, then 478 points of x, y, depth in pixels, NaN where no face was found.
"""

import sys
import time

import cv2
import mediapipe
import numpy as np


def main(clip: str) -> None:
    capture = cv2.VideoCapture(clip)
    mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=False, max_num_faces=1, refine_landmarks=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            _, image = capture.read()
            picture = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            begun = time.process_time()
            found = mesh.process(picture).multi_face_landmarks
            seconds = time.process_time() - begun
            scale = np.array([image.shape[1], image.shape[0], image.shape[1]])
            points = [(point.x, point.y, point.z) for point in found[0].landmark] if found else np.nan
            landmarks = np.broadcast_to(points * scale, (478, 3))
            sys.stdout.buffer.write(np.append(seconds, landmarks).tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])

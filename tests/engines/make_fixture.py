"""Makes ``original_runtime.npz``: what the original runtimes compute on crops of one photograph.

    python tests/engines/make_fixture.py MODELS_DIRECTORY

Run it in an environment of its own, Python 3.11 with mediapipe 0.10.21 and ai-edge-litert, on a folder that
``appliance models fetch`` filled. MediaPipe alone has the landmark network's custom operators, so its own graph
reads the crop; LiteRT runs the detector. The photograph is NASA's of Eileen Collins, public domain.
"""

import sys
from pathlib import Path

import cv2
import mediapipe
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from mediapipe.framework.formats.rect_pb2 import NormalizedRect
from mediapipe.python import packet_creator, packet_getter
from mediapipe.python._framework_bindings import calculator_graph, resource_util
from mediapipe.python._framework_bindings import image_frame as frames

FACE = (225.0, 124.0)  # middle of the face in the photograph, pixels
GRAPH = """
input_stream: "image"
input_stream: "region"
output_stream: "landmarks"
input_side_packet: "with_attention"
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:region"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:landmarks"
}
"""


def crop(photograph: np.ndarray, side_px: float, rotation_deg: float, size_px: int) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D(FACE, rotation_deg, size_px / side_px)
    matrix[:, 2] += size_px / 2 - np.array(FACE)
    return cv2.cvtColor(cv2.warpAffine(photograph, matrix, (size_px, size_px)), cv2.COLOR_BGR2RGB)


def landmarks(picture: np.ndarray) -> np.ndarray:
    """The 478 points of a 192 x 192 picture that is all face, in its pixels."""
    found = []
    graph = calculator_graph.CalculatorGraph(graph_config=GRAPH)
    graph.observe_output_stream("landmarks", lambda _, packet: found.append(packet))
    graph.start_run({"with_attention": packet_creator.create_bool(True)})
    frame = frames.ImageFrame(image_format=frames.ImageFormat.SRGB, data=picture)
    graph.add_packet_to_input_stream("image", packet_creator.create_image_frame(frame).at(0))
    whole = NormalizedRect(x_center=0.5, y_center=0.5, width=1, height=1)
    graph.add_packet_to_input_stream("region", packet_creator.create_proto(whole).at(0))
    graph.close()
    (packet,) = found
    points = packet_getter.get_proto(packet).landmark
    return np.array([(point.x, point.y, point.z) for point in points], np.float32) * 192


def detections(model: Path, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Raw boxes and scores of a 128 x 128 picture."""
    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], (picture / np.float32(127.5) - 1)[None])
    interpreter.invoke()
    outputs = {
        output["name"]: interpreter.get_tensor(output["index"])[0] for output in interpreter.get_output_details()
    }
    return outputs["regressors"], outputs["classificators"]


def encoded(picture: np.ndarray) -> np.ndarray:
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]


def main(models: Path) -> None:
    resource_util.set_resource_dir(str(Path(mediapipe.__file__).parents[1]))
    photograph = cv2.imread(str(models / "sources/astronaut.png"))
    tilted, upright, whole = (
        crop(photograph, 170, 25, 192),
        crop(photograph, 150, -4, 192),
        crop(photograph, 400, 10, 128),
    )
    boxes, scores = detections(models / "sources/face_detector.tflite", whole)
    anchors = np.unique(np.append(np.arange(0, len(scores), 8), np.argsort(scores[:, 0])[-16:]))
    np.savez_compressed(
        Path(__file__).with_name("original_runtime.npz"),
        tilted_png=encoded(tilted),
        tilted_landmarks=landmarks(tilted),
        mirrored_landmarks=landmarks(np.ascontiguousarray(tilted[:, ::-1])),
        upright_png=encoded(upright),
        upright_landmarks=landmarks(upright),
        whole_png=encoded(whole),
        whole_anchors=anchors,
        whole_boxes=boxes[anchors],
        whole_scores=scores[anchors],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

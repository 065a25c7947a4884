from dataclasses import replace

import numpy as np

from appliance import settings
from appliance.avatar.channels import BLENDSHAPES
from appliance.avatar.compose import Avatar
from appliance.avatar.orders import KEPT, Orders, give, since
from appliance.latest import Latest
from appliance.values import Expression, Face, Gaze, HeadPose, TrackingState

FRAME_NS = 33_000_000


def face(at_ns: int, camera: str = "cam0", smile: float = 0.4) -> Face:
    shapes = np.zeros(52, np.float32)
    shapes[BLENDSHAPES.index("mouthSmileLeft")] = smile
    head = HeadPose((0.0, 0.0, 0.0, 1.0), (0.0, 0.0, -0.6))
    expression = Expression(shapes, head, Gaze((0.0, 0.0), (0.0, 0.0)))
    return Face(camera, 0, "k3f9q2", TrackingState.TRACKING, 1, 0.99, at_ns, expression)


def test_the_newest_orders_are_kept_and_numbered() -> None:
    shelf: Orders = Latest(())
    for _ in range(KEPT + 4):
        give(shelf, "neutral", "cam0")

    assert [order.number for order in since(shelf.get(), KEPT)] == list(range(KEPT + 1, KEPT + 5))
    assert len(shelf.get()) == KEPT


def test_an_order_concerns_the_stream_and_slot_that_it_names() -> None:
    shelf: Orders = Latest(())
    give(shelf, "neutral")
    give(shelf, "neutral", "cam0")
    give(shelf, "neutral", "cam0", 1)
    everybody, camera, place = shelf.get()

    assert everybody.concerns("mic0", 3)
    assert camera.concerns("cam0", 3)
    assert not camera.concerns("cam1", 0)
    assert not place.concerns("cam0", 0)


def smiles(avatar: Avatar, first_ns: int, seconds: float, smile: float) -> tuple[float, int]:
    """Show faces of two cameras; return how the first smiles at the end, and when."""
    now_ns = first_ns
    shown = 0.0
    while now_ns < first_ns + seconds * 1e9:
        now_ns += FRAME_NS
        states = avatar.compose([face(now_ns, "cam0", smile), face(now_ns, "cam1", smile)], {})
        shown = float(states[0].blendshapes[BLENDSHAPES.index("mouthSmileLeft")])
    return shown, now_ns


def test_the_next_picture_after_neutral_teaches_how_the_visitor_rests() -> None:
    shelf: Orders = Latest(())
    cameras = [settings.Camera(name, "file:none") for name in ("cam0", "cam1")]
    avatar = Avatar(settings.Avatar(smoothing="none"), cameras, shelf)
    _, now_ns = smiles(avatar, 10**9, 12, 0.0)
    before, now_ns = smiles(avatar, now_ns, 0.5, 0.3)

    give(shelf, "neutral", "cam0")
    after, now_ns = smiles(avatar, now_ns, 0.5, 0.3)

    assert before > 0.2
    assert after < 0.1
    untouched = avatar.compose([face(now_ns + FRAME_NS, "cam1", 0.3)], {})[0]
    assert untouched.blendshapes[BLENDSHAPES.index("mouthSmileLeft")] > 0.2


def test_recalibrating_keeps_the_session_and_the_count_of_states() -> None:
    shelf: Orders = Latest(())
    avatar = Avatar(settings.Avatar(), [settings.Camera("cam0", "file:none")], shelf)
    first = avatar.compose([face(10**9)], {})[0]

    give(shelf, "recalibrate")
    second = avatar.compose([replace(face(10**9), captured_ns=2 * 10**9)], {})[0]

    assert (second.sequence, second.session) == (first.sequence + 1, first.session)

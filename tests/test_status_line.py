from appliance import settings
from appliance.capture.captured import CameraStatus
from appliance.listening.ears import Listening
from appliance.publish.mqtt import PublisherStatus
from appliance.status_line import one_line

CONNECTED = PublisherStatus(True, "5", 1, "", 0, 0, 0)
LIVE = CameraStatus(True, 90, 0, 0, "")
DEAD = CameraStatus(False, 90, 0, 3, "no picture for 2 s after picture 90")


def test_an_appliance_that_is_well_says_what_it_sends() -> None:
    line = one_line(CONNECTED, {"cam0/0": 29.7, "cam1/0": 60.1}, {"cam0": LIVE, "cam1": LIVE}, [])

    assert line == "sending cam0/0 30, cam1/0 60 frames/s"


def test_what_is_wrong_comes_first() -> None:
    away = PublisherStatus(False, "5", 0, "broker mqtts://renderer.local cannot be reached: No route to host", 0, 0, 0)

    line = one_line(away, {"cam0/0": 0.0}, {"cam0": DEAD}, [])

    assert line == (
        "broker mqtts://renderer.local cannot be reached: No route to host; "
        "camera cam0: no picture for 2 s after picture 90; sending nothing"
    )


def test_what_has_not_come_yet_is_said() -> None:
    starting = PublisherStatus(False, "5", 0, "", 0, 0, 0)
    ear = Listening(settings.Microphone("mic0", "alsa:default"), lambda event: None)

    line = one_line(starting, {}, {"cam0": CameraStatus(False, 0, 0, 0, "")}, [ear])

    assert line == "no broker yet; camera cam0: no picture yet; microphone mic0: no sound yet; sending nothing"

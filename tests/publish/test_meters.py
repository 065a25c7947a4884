from appliance.publish.meters import KEPT, WINDOW_S, FrameMeters


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


def test_frames_a_second_are_those_of_the_last_seconds() -> None:
    clock = Clock()
    meters = FrameMeters(clock)
    for _ in range(500):
        clock.pass_s(0.02)
        meters.count("cam0/0", {})
        meters.count("cam0/1", {})

    assert meters.fps() == {"cam0/0": 50.0, "cam0/1": 50.0}
    clock.pass_s(WINDOW_S / 2)
    assert meters.fps()["cam0/0"] == 25.0
    clock.pass_s(WINDOW_S)
    assert meters.fps()["cam0/0"] == 0.0


def test_a_program_just_started_is_not_slow() -> None:
    clock = Clock()
    meters = FrameMeters(clock)
    for _ in range(30):
        clock.pass_s(1 / 30)
        meters.count("cam0/0", {})

    assert meters.fps()["cam0/0"] == 30.0


def test_median_and_99th_percentile_by_stage() -> None:
    clock = Clock()
    meters = FrameMeters(clock)
    for elapsed_ms in range(101):
        clock.pass_s(0.01)
        meters.count("cam0/0", {"landmarks": float(elapsed_ms), "total": 5.0})

    assert meters.stages() == {"landmarks": {"p50_ms": 50.0, "p99_ms": 99.0}, "total": {"p50_ms": 5.0, "p99_ms": 5.0}}


def test_a_stage_that_no_longer_runs_is_no_longer_told() -> None:
    clock = Clock()
    meters = FrameMeters(clock)
    meters.count("cam0/0", {"detect": 3.0})
    clock.pass_s(WINDOW_S + 1)
    meters.count("cam0/0", {"total": 3.0})

    assert list(meters.stages()) == ["total"]


def test_more_frames_than_are_kept_are_no_trouble() -> None:
    clock = Clock()
    meters = FrameMeters(clock)
    for _ in range(3 * KEPT):
        clock.pass_s(0.02)
        meters.count("cam0/0", {"total": 1.0})

    assert meters.fps()["cam0/0"] == 50.0
    assert meters.stages()["total"]["p50_ms"] == 1.0

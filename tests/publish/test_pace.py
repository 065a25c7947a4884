from appliance.publish.pace import FIRST_WINDOW, NARROWEST, PULSE_NS, SLOW_NS, STUCK_NS, WIDEST, Pace

PERIOD_NS = 1_000_000_000 // 60
MS = 1_000_000


class Clock:
    ns = 1_000_000_000

    def __call__(self) -> int:
        return self.ns


class Talk:
    """60 pictures a second to a broker that answers after so long."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pace = Pace(self.clock)
        self._due_ns = 0

    def run(self, answer_ns: int, seconds: float, streams: int = 1) -> tuple[int, int, int]:
        """Return how many frames were sent and refused, and how often the broker was asked."""
        sent = refused = asked = 0
        for _ in range(int(seconds * 60)):
            for _ in range(streams):
                if self.pace.ask():
                    asked, self._due_ns = asked + 1, self.clock.ns + answer_ns
                may = self.pace.may_send()
                if may:
                    self.pace.count()
                sent, refused = sent + may, refused + (not may)
            self.clock.ns += PERIOD_NS
            if self._due_ns and self.clock.ns >= self._due_ns:
                self.pace.hear()
                self._due_ns = 0
        return sent, refused, asked


def test_a_prompt_broker_gets_every_frame_and_few_questions() -> None:
    sent, refused, asked = Talk().run(MS, 10)

    assert (sent, refused) == (600, 0)
    assert asked <= 10e9 / PULSE_NS


def test_many_faces_widen_the_window_within_a_tenth_of_a_second() -> None:
    talk = Talk()
    talk.run(MS, 0.1, streams=24)

    assert talk.run(MS, 5, streams=24)[1] == 0


def test_a_far_broker_that_is_not_slow_gets_every_frame_in_the_end() -> None:
    talk = Talk()
    talk.run(120 * MS, 2)

    assert talk.run(120 * MS, 5)[1] == 0


def test_a_broker_that_stopped_answering_gets_the_window_and_no_more() -> None:
    talk = Talk()
    talk.run(MS, 5)

    assert talk.run(10**12, 5)[0] <= FIRST_WINDOW
    assert talk.pace.is_stuck()


def test_a_slow_broker_narrows_the_window_and_still_gets_frames() -> None:
    talk = Talk()
    talk.run(SLOW_NS + MS, 3)

    sent = talk.run(SLOW_NS + MS, 10)[0]

    assert 0 < sent <= 10 * NARROWEST * 1e9 / SLOW_NS + NARROWEST


def test_a_window_never_opens_without_end() -> None:
    talk = Talk()
    talk.run(MS, 5, streams=2 * round(WIDEST))

    assert talk.run(10**12, 5, streams=50)[0] <= WIDEST


def test_it_is_stuck_only_while_it_owes_an_answer() -> None:
    talk = Talk()
    assert not talk.pace.is_stuck()
    assert not talk.pace.ask()
    assert talk.pace.ask(idle=True)
    talk.clock.ns += STUCK_NS
    assert not talk.pace.is_stuck()
    talk.clock.ns += 1
    assert talk.pace.is_stuck()

    talk.pace.hear()

    assert not talk.pace.is_stuck()

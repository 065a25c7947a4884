"""The appliance with its edges swapped: a session folder in, states out, as fast as they go.

Time is the recording's own, so every replay of a folder yields the same states.
"""

from collections.abc import Iterator

from appliance.avatar.compose import Avatar
from appliance.capture.sessions import SessionPictures
from appliance.daemon import build_tracker, open_viseme_network
from appliance.listening.hearing import Hearing
from appliance.listening.sessions import session_sound
from appliance.recording import Session
from appliance.settings import Settings
from appliance.values import AvatarState, Frame, Voice


def replay(session: Session, settings: Settings) -> Iterator[AvatarState]:
    """Yield the states of one recorded session; its models must have been fetched."""
    tracker = build_tracker(settings)
    avatar = Avatar(settings.avatar, settings.camera)
    voices = _voices(session, Hearing(session.camera.microphone, open_viseme_network(settings)))
    voice = next(voices, None)
    following = next(voices, None)
    for sequence, (image, captured_ns) in enumerate(SessionPictures(session.folder), start=1):
        while following is not None and following.heard_ns <= captured_ns:
            voice, following = following, next(voices, None)
        faces = tracker.read([Frame(session.camera.name, sequence, captured_ns, image)])
        yield from avatar.compose(faces, {voice.microphone: voice} if voice else {})


def _voices(session: Session, hearing: Hearing) -> Iterator[Voice]:
    """Silence first, then what each block of sound says."""
    if not session.has_voice:
        return
    yield Voice(session.camera.microphone, 0)
    for sound in session_sound(session.folder):
        yield hearing.hear(sound)

"""Whether each microphone gives sound."""

import importlib.util
from pathlib import Path

from appliance import settings as config
from appliance.checks.finding import Finding, Verdict
from appliance.checks.glance import ignore, why_refused, within
from appliance.listening.ears import Listening


def listen(microphone: config.Microphone) -> Finding:
    """Whether a microphone gives sound."""
    subject = f"microphone {microphone.name}"
    if microphone.source.startswith("alsa:"):
        if importlib.util.find_spec("alsaaudio") is None:
            cure = "pip install 'avatar-appliance[device]'"
            return Finding(subject, Verdict.STOP, "the package pyalsaaudio is not installed", cure)
        refused = why_refused(Path("/dev/snd/controlC0"), "audio") if Path("/dev/snd").exists() else None
        if refused:
            return Finding(subject, Verdict.STOP, *refused)
    ear = Listening(microphone, ignore)
    ear.start()
    heard = within(lambda: ear.status().blocks > 0)
    error = ear.status().last_error
    ear.close()
    if heard:
        return Finding(subject, Verdict.FINE, "gives sound")
    text = error or f"{microphone.source} gives no sound"
    return Finding(subject, Verdict.STOP, text, "look at the cable; arecord -L lists names")

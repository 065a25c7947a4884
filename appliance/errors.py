"""What can go wrong that an operator can mend. Anything else is a bug."""

from engines.errors import EngineError


class ApplianceError(Exception):
    """Something an operator can act on. The message names the rule, the value and the cure."""

    exit_status = 1


class ConfigError(ApplianceError):
    """The settings are wrong. Restarting will not help, so systemd does not."""

    exit_status = 78


class CameraError(ApplianceError):
    """A camera, stream or clip gives no pictures: look at the source; capture is retried."""


class MicrophoneError(ApplianceError):
    """A microphone or recording gives no sound: look at the source; listening is retried."""


class ShortOfMemoryError(ApplianceError):
    """Memory is critical and there is nothing left to shed: a new start, which whoever supervises makes."""


class BrokerError(ApplianceError):
    """The MQTT broker cannot be used as the settings say: look at the network or credentials."""


ACTIONABLE = (ApplianceError, EngineError)
"""What ``__main__`` turns into one line and an exit status."""

"""The one error of this package."""


class EngineError(Exception):
    """A model or an engine is missing, broken or unfit. The message names the cure."""

    exit_status = 1

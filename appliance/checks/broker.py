"""Whether the broker lets us in."""

import os

from appliance import settings as config
from appliance.checks.finding import Finding, Verdict
from appliance.checks.glance import within
from appliance.errors import ACTIONABLE
from appliance.publish.connection import Connection


def reach(broker: config.Broker) -> Finding:
    """Whether the broker lets us in."""
    try:
        connection = Connection(broker, f"check-{os.getpid()}", lambda client: None)
    except ACTIONABLE as error:
        return Finding("broker", Verdict.STOP, str(error), "see [broker] in the settings")
    connection.start()
    connected = within(lambda: connection.status().connected)
    status = connection.status()
    connection.close()
    if not connected:
        text = status.problem or f"{broker.url} does not answer"
        return Finding("broker", Verdict.STOP, text, "see [broker] in the settings, and the broker's own log")
    text = f"{broker.url} lets us in with MQTT {status.protocol}"
    if not broker.tls and broker.host not in ("127.0.0.1", "localhost", "::1"):
        return Finding("broker", Verdict.WEAK, f"{text}, unencrypted", "use mqtts:// and ca_file")
    return Finding("broker", Verdict.FINE, text)

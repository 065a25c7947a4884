"""What runs the networks, and whether every network and engine is there and whole."""

import importlib.metadata
from collections.abc import Iterator

from appliance import settings as config
from appliance.checks.finding import Finding, Verdict
from appliance.errors import ACTIONABLE
from appliance.installed import every_network, networks, wanted_engines
from appliance.settings import Settings
from engines.fetch import is_ready
from engines.keys import choose_engine
from engines.networks import network
from engines.opening import choose, this_board
from engines.store import BUILD_COMMAND, Store


def runtime(engines: config.Engines) -> Finding:
    """What will run the networks."""
    found = [f"{name} {version}" for name in ("tensorrt", "openvino", "onnxruntime") if (version := _version(name))]
    try:
        chosen = choose(engines.runner)
    except ACTIONABLE as error:
        return Finding("networks", Verdict.STOP, str(error), "set engines.runner = auto")
    return Finding("networks", Verdict.FINE, f"run by {chosen}; installed: {', '.join(found)}")


def models(settings: Settings) -> Iterator[Finding]:
    """Whether every network is there and whole."""
    for name in networks(settings):
        if is_ready(settings.storage.models, name):
            yield Finding("model", Verdict.FINE, f"{name} is there and whole")
        else:
            text = f"{name} is absent or damaged in {settings.storage.models}"
            yield Finding("model", Verdict.WEAK, text, "appliance models fetch (the daemon does it at its start)")
    if brought := settings.engines.expression:
        try:
            name = network(brought, settings.storage.models).name
        except ACTIONABLE as error:
            yield Finding("model", Verdict.STOP, str(error), "correct the manifest that engines.expression names")
        else:
            yield Finding("model", Verdict.FINE, f"{name} reads expressions, as {brought} says")


def engines(settings: Settings) -> Iterator[Finding]:
    """Whether every engine is there, where engines run networks."""
    try:
        if choose(settings.engines.runner) != "tensorrt":
            return
        board = this_board()
    except ACTIONABLE:
        return  # the finding of what runs networks says it
    wanted = wanted_engines(settings)
    store = Store(wanted.engines)
    for name in every_network(settings):
        if name in networks(settings) and not is_ready(settings.storage.models, name):
            continue
        choice = choose_engine(network(name, settings.storage.models), wanted, board, store)
        precision = choice.key.precision
        if not store.is_whole(choice.key):
            text = f"no {precision} engine of {name}: {store.why_absent(choice.key)}"
            yield Finding("engine", Verdict.STOP, text, BUILD_COMMAND)
        elif choice.fallback:
            yield Finding("engine", Verdict.WEAK, f"{name} runs in {precision}: {choice.fallback}")
        elif choice.passed_over:
            yield Finding("engine", Verdict.WEAK, f"{name} runs in {precision}: {choice.passed_over}")
        else:
            why = f": {choice.preferred}" if choice.preferred else ""
            yield Finding("engine", Verdict.FINE, f"{name} is there in {precision}{why}")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""

"""scripts/dreamartist.py on fakes of what the WebUIs register callbacks with."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dreamartist_ext.webui import registration

SCRIPT = Path(__file__).parents[2] / "scripts" / "dreamartist.py"
EVENTS = ("ui_tabs", "ui_settings", "before_ui", "app_started")


class CallbacksOfV110:
    """As in AUTOMATIC1111 v1.10.1 and its forks: a list for each event; it searches the stack if no file is told."""

    def __init__(self):
        self.callback_map = {f"callbacks_{event}": [] for event in EVENTS}
        self.searches = 0

    def add_callback(self, callbacks, fun, *, name=None, category="unknown", filename=None):
        self.searches += filename is None
        callbacks.append((category, fun, filename))

    def registered(self):
        return [entry for event in EVENTS for entry in self.callback_map[f"callbacks_{event}"]]


class CallbacksByName:
    """A WebUI with nothing but `on_ui_tabs` and the like: whose callback it is follows from the caller's frame."""

    def __init__(self):
        self.kept = {event: [] for event in EVENTS}
        for event in EVENTS:
            setattr(self, f"on_{event}", self._registrar(event))

    def _registrar(self, event):
        def on_event(callback):
            self.kept[event].append((event, callback, sys._getframe(1).f_code.co_filename))

        return on_event

    def registered(self):
        return [entry for event in EVENTS for entry in self.kept[event]]


class CallbacksWithoutFile(CallbacksByName):
    """As in SD.Next: there is an `add_callback`, which can't be told the file."""

    def __init__(self):
        super().__init__()
        self.callback_map = {f"callbacks_{event}": kept for event, kept in self.kept.items()}

    def add_callback(self, callbacks, fun):
        callbacks.append((None, fun, sys._getframe(2).f_code.co_filename))


def load_script(monkeypatch, callbacks):
    """As the WebUI does at its start and at every "Reload UI"."""
    scripts = SimpleNamespace(Script=type("Script", (), {}), AlwaysVisible=object())
    monkeypatch.setitem(sys.modules, "modules", SimpleNamespace(script_callbacks=callbacks, scripts=scripts))
    spec = importlib.util.spec_from_file_location("dreamartist", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, scripts


@pytest.mark.parametrize("kind", [CallbacksOfV110, CallbacksWithoutFile, CallbacksByName])
def test_each_callback_is_registered_once_for_its_event_in_the_scripts_name(monkeypatch, kind):
    callbacks = kind()
    load_script(monkeypatch, callbacks)
    ours = (registration.tab, registration.settings, registration.axes, registration.mount_api)
    assert callbacks.registered() == [(e, fun, str(SCRIPT)) for e, fun in zip(EVENTS, ours, strict=True)]


def test_no_call_stack_is_searched_where_the_file_can_be_told(monkeypatch):
    callbacks = CallbacksOfV110()
    load_script(monkeypatch, callbacks)
    assert callbacks.searches == 0


def test_a_reload_registers_in_the_cleared_lists_again(monkeypatch):
    callbacks = CallbacksOfV110()
    load_script(monkeypatch, callbacks)
    first = callbacks.registered()
    for kept in callbacks.callback_map.values():
        kept.clear()
    load_script(monkeypatch, callbacks)
    assert callbacks.registered() == first


def test_the_script_file_holds_one_script_of_the_webuis_own(monkeypatch):
    module, scripts = load_script(monkeypatch, CallbacksOfV110())
    found = [thing for thing in vars(module).values() if isinstance(thing, type) and issubclass(thing, scripts.Script)]
    assert found == [module.DreamArtistScript]

"""Registration with the WebUI, and nothing else: this file runs again at every "Reload UI"."""

from modules import script_callbacks, scripts

from dreamartist_ext.webui import registration
from dreamartist_ext.webui.prompts import generation_script

for event, callback in registration.CALLBACKS.items():
    registration.registrar(script_callbacks, event, __file__)(callback)
DreamArtistScript = generation_script.script_class(scripts)

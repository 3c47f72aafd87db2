"""Registration with the WebUI, and nothing else: this file runs again at every "Reload UI"."""

from modules import script_callbacks, scripts

from dreamartist_ext.webui import generation_script, registration

script_callbacks.on_ui_tabs(registration.tab)
script_callbacks.on_ui_settings(registration.settings)
script_callbacks.on_before_ui(registration.axes)
script_callbacks.on_app_started(registration.mount_api)
DreamArtistScript = generation_script.script_class(scripts)

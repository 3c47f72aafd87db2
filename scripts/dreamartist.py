"""Registration with the WebUI, and nothing else: this file runs again at every "Reload UI"."""

from modules import script_callbacks

from dreamartist_ext.webui import registration

script_callbacks.on_ui_tabs(registration.tab)

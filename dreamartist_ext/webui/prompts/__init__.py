"""A learned word in a prompt brings its negative: the generation script, its hook, the X/Y/Z axes. Imports what is
below webui.
"""

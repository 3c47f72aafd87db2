"""Models as diffusers holds them: folders, single files, the embedded model.

Imports hosts, files, engine and diffusers.
"""

"""The loaded model of Forge, and of its forks with a `backend`: Forge Neo, and reForge's newmain_newforge.

Imports hosts/webuis, hosts, files, engine and, on use, Forge's modules.
"""

"""The loaded model of AUTOMATIC1111, and of its forks with ldm's classes: reForge and Forge Classic.

Imports hosts/webuis, hosts, files, engine and, on use, the WebUI's modules.
"""

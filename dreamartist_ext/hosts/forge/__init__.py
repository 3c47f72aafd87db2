"""The place for Forge's and its forks' loaded model.

May import hosts, files, engine and, on use, the WebUI's modules.
"""

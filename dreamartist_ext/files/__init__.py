"""What lies on disk and is traded: formats and their safe readers, cards, pairs, atomic writing, a training's folder.

Imports the engine.
"""

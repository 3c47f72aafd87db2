"""A folder with one picture per concept: each becomes a pair, in this process or on many machines. Imports hosts, files
and the engine.
"""

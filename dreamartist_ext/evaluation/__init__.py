"""How good a learned pair is: measures, intervals, and a report with pictures. Imports files and the engine, and hosts
only to draw.
"""

"""How good a learned pair is: measures, intervals, and a report with pictures. Imports the engine only; a model is
reached through a drawing callable."""

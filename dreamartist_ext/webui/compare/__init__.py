"""Compare and the full report. Imports webui/training and what is below webui."""

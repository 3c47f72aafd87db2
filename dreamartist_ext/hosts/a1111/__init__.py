"""AUTOMATIC1111's loaded model, queue, options and prompts.

Imports hosts, files, engine and, on use, the WebUI's modules.
"""

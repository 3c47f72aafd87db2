"""What AUTOMATIC1111 and its forks share, however they hold their model: queue, options, prompts.

Imports hosts, files, engine and, on use, the WebUI's modules.
"""

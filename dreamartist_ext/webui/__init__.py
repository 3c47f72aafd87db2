"""The page, inside a WebUI or on its own. Imports hosts, evaluation, many, files, engine; never a WebUI's modules."""

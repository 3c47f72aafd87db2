"""My concepts: the shelf and its page, sharing, importing. Imports webui/training and what is below webui."""

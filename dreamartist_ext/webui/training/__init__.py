"""The Train page: desk, jobs, live view, previews, estimates. Imports webui's own floor and what is below webui."""

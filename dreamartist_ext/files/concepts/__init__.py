"""The learned concepts of an embeddings folder: list, rename, delete, share. Imports files and the engine."""

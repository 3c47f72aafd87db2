"""How fast and how large a training is, against the least that it could cost and against others; see `make bench`."""

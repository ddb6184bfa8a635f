"""The device: what it is, how it fares, what it could do at most."""

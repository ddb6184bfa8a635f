"""Models: which one is meant, how it is built or loaded, and what it is fed."""

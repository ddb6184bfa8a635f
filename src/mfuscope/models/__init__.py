"""Models: finding, checking and building them, and making their inputs."""

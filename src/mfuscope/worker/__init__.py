"""The resident model worker: a process that keeps a model ready for the jobs of one workflow."""

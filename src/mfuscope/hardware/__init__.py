"""The device: its description, state, memory, peaks and measured ceiling."""

"""Settings: where they come from, what they may be, and the record that the packages share."""

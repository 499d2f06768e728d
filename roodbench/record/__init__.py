"""The result record of a run: typed, versioned, and as tables and text."""

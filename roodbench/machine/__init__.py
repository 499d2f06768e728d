"""The machine under a run: its device, its memory, and the network made fast for it."""

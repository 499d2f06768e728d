"""From settings to a fitted detector: the settings of a run, what protocols fix, and the one door that opens them."""

"""An entry of a leaderboard: one file with a run's record and its scores, and what can be held against it."""

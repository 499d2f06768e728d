"""From a fitted detector and a benchmark to scores per population, and to what says how far they can be trusted."""

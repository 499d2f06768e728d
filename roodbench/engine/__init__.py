"""Work on image sets, shard by shard: the seam between what is computed and where."""

"""What is kept on disk: cells by content, a network's outputs, folders of runs; and what decides a number."""

"""Speed and memory as figures: each benchmark prints a ratio against a peer measured in the same run."""

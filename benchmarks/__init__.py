"""Comparisons with peers: plain scripts, interleaved, that print a table and write it to results/."""

"""The arithmetic: arrays in, arrays out. No labels, no files, no printing."""

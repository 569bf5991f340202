"""The shelf: one folder a data set, each with a card (source, licence, size, checksum, how to get it)."""

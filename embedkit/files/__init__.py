"""Files as such: opened whatever packs them, written all or nothing, checksummed, cached; not what is in them."""

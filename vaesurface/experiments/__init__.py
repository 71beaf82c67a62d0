"""Questions asked of data: one short file each, built from the library's public names."""

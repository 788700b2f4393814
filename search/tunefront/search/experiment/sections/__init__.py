"""Resolution of the sections of an experiment file, one file each."""

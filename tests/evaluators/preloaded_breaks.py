"""A library that can't be imported; see test_preload.py."""

raise OSError("libnothing.so: cannot open shared object file")

"""Ray in a supervised process: channel, Tune searcher, workers, nodes."""

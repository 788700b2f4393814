"""From torch module to torch module: pruning and its kin; one file each."""

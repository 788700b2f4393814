"""Export, verification, recheck and serving of a pick."""

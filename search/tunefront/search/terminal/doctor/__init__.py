"""Output of `tunefront doctor`: this machine, its GPUs, the choices."""

"""What this machine and its container offer, read from the system's files and the GPU driver."""

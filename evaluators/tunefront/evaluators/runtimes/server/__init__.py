"""The engine `server`: a command that starts a server, called over HTTP."""

"""The task `http`: any service over HTTP, with requests from rows of data."""

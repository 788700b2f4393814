"""Ray in a process of its own: what it does to itself costs the night a restart, not its record."""

from .host import Host, HostLost, Jobs
from .job import Job, TurnsJob, resources_of

__all__ = ["Host", "HostLost", "Job", "Jobs", "TurnsJob", "resources_of"]

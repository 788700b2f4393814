"""Fresh processes: fork servers, leases of cores, shared memory."""

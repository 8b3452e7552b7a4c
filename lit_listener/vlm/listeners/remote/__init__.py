"""A listener behind a server: the connection, the patience with it, what goes over the wire, and the listener."""

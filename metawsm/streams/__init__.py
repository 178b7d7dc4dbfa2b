"""Redis Streams as the transport: the only user of redis-py."""

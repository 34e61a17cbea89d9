//! Stories that cross services, told against the real binaries, a real PostgreSQL and a real NATS.

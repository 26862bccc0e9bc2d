"""What the system tests stand on: a network of their own, name servers, Redis, and the daemon."""

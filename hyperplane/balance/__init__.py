"""Where things go: which nodes serve an interface, which target gets a new flow."""

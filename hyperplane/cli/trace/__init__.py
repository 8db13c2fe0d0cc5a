"""`hyperplane trace`: one real call, watched at every hop, and everything that explains it."""

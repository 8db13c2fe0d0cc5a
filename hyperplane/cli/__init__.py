"""The command `hyperplane`: the only place where rooms are put together."""

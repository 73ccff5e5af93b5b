"""What a user types: one module a command. Arguments and exit codes stand in `cli`."""

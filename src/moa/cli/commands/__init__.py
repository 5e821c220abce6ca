"""Groups of commands, a file each. Each command imports what it needs when it runs."""

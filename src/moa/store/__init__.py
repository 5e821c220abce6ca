"""Every run kept in one file, to be read again."""

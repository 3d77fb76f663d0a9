"""Published experiments done again."""

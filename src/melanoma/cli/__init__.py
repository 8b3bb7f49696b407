"""The `melanoma` command."""

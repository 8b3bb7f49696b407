"""Labelled images: manifests, splits, and images drawn with known truth."""

"""Public image collections, fetched with their labels, licences and attribution; no pandas."""

"""The ground floor: canonical JSON and digests, files written whole, the version. Imports no other room."""

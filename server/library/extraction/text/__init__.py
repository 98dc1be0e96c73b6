"""Bytes as text: charset, kind, what is plain already."""

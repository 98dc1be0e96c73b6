"""The official conformance suite and the Inspector, against our server: `make conformance`. They need npm packages."""

"""The morning report: what a study has brought, on one page."""

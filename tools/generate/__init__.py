"""Generators of docs/data-model.md and contracts/openapi.yaml from workflow/schemas."""
